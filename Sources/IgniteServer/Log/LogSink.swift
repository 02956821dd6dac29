internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// Where log lines go, on a thread of its own: a reader that is slow, or gone, holds up nobody who logs.
public final class LogSink: Sendable {
  private struct State {
    var waiting = 0
    var lost = 0
  }

  /// Lines that wait at most; what comes beyond is dropped, and counted.
  private static let capacity = 4096

  private let executor = ThreadExecutor(name: "ignite-log")
  private let state = Mutex(State())
  private let output: @Sendable ([UInt8]) -> Void

  /// - Parameter output: takes a line with its end; may block.
  public init(_ output: @escaping @Sendable ([UInt8]) -> Void) { self.output = output }

  /// Writes to a descriptor, which stays the caller's.
  public convenience init(descriptor: Int32) {
    self.init { bytes in
      var offset = 0
      while offset < bytes.count {
        let count = bytes.withUnsafeBytes {
          Glibc.write(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
        }
        if count > 0 { offset += count } else if errno != EINTR { return }
      }
    }
  }

  /// Puts a line in the queue; its end is added.
  func write(_ line: String) {
    let lost: Int? = state.withLock { state in
      guard state.waiting < Self.capacity else {
        state.lost += 1
        return nil
      }
      state.waiting += 1
      defer { state.lost = 0 }
      return state.lost
    }
    guard let lost else { return }
    executor.submit { [self] in
      if lost > 0 { output(Array("msg=\"log lines were lost\" level=warning count=\(lost)\n".utf8)) }
      output(Array((line + "\n").utf8))
      state.withLock { $0.waiting -= 1 }
    }
  }

  /// Waits until all is written, but no longer than that.
  public func flush(within limit: Duration) async {
    let deadline = ContinuousClock.now + limit
    while state.withLock({ $0.waiting > 0 }), ContinuousClock.now < deadline {
      try? await Task.sleep(for: .milliseconds(2))
    }
  }
}
