internal import Synchronization

/// Thins out the progress of a transfer: about a hundred steps, none smaller than 64 KiB.
final class ProgressSteps: Sendable {
  private let step: Int64
  private let total: Int64
  private let next: Mutex<Int64>

  init(total: Int64) {
    step = max(64 << 10, total / 100)
    self.total = total
    next = Mutex(0)
  }

  func isWorthTelling(_ done: Int64) -> Bool {
    next.withLock { next in
      guard done >= next || done == total else { return false }
      next = done + step
      return true
    }
  }
}
