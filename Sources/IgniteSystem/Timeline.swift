internal import CIgniteSystem
internal import Glibc
internal import Synchronization

/// When this process got how far on its way to a VM's first output, for `run --timings`.
///
/// One for the process, since the steps are taken in many places; a mark costs a microsecond. Times are of
/// CLOCK_MONOTONIC, which is the same in all processes of the host.
public enum Timeline {
  /// A step's end.
  public struct Mark: Codable, Equatable, Sendable {
    public var step: String
    /// Nanoseconds of CLOCK_MONOTONIC.
    public var time: UInt64

    public init(step: String, time: UInt64) {
      self.step = step
      self.time = time
    }
  }

  private static let state = Mutex<[Mark]>([])

  /// Marks the end of a step, the first time that it is reached.
  public static func mark(_ step: String) {
    let now = now()
    state.withLock { marks in
      if marks.count < 64, !marks.contains(where: { $0.step == step }) { marks.append(Mark(step: step, time: now)) }
    }
  }

  /// Takes back marks, where what they stand for begins anew.
  public static func remove(_ steps: Set<String>) { state.withLock { $0.removeAll { steps.contains($0.step) } } }

  /// Takes back all marks.
  public static func reset() { state.withLock { $0 = [] } }

  /// Adds what another process marked.
  public static func add(_ others: [Mark]) { state.withLock { $0 += others.prefix(64) } }

  /// All marks so far, in the order in which they were made.
  public static var marks: [Mark] { state.withLock { $0 } }

  public static func now() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }
}
