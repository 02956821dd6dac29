/// When a source is looked at again. Pure: the caller brings the random number and the waiting.
public struct SourceSchedule: Sendable, Hashable {
  /// Between two looks at a source that answers.
  public var interval: Duration
  /// How far a wait may be off, as a part of itself, so that many sources do not ask one server at once: 0.1 is 5 % either way.
  public var jitter: Double
  /// The wait after the first failure; each further one doubles it.
  public var firstRetry: Duration
  /// The longest wait after failures.
  public var lastRetry: Duration

  /// - Parameters:
  ///   - interval: at least a second.
  ///   - jitter: 0 to 1.
  ///   - lastRetry: nil for five minutes, or the interval where that is longer.
  public init(
    interval: Duration, jitter: Double = 0.1, firstRetry: Duration = .seconds(2), lastRetry: Duration? = nil
  ) {
    self.interval = max(interval, .seconds(1))
    self.jitter = min(max(jitter, 0), 1)
    self.firstRetry = max(firstRetry, .milliseconds(100))
    self.lastRetry = max(lastRetry ?? max(self.interval, Self.longestRetry), self.firstRetry)
  }

  /// The most that a source which fails is waited for, where its interval is not longer.
  public static let longestRetry: Duration = .seconds(300)

  /// How long to wait.
  ///
  /// - Parameters:
  ///   - failures: how often it has failed in a row.
  ///   - random: from 0 up to and without 1.
  public func wait(failures: Int = 0, random: Double) -> Duration {
    let steady =
      failures == 0 ? interval : min(firstRetry * (1 << min(failures - 1, 20)), lastRetry)
    let part = min(max(random, 0), 1) - 0.5
    return steady * (1 + part * jitter)
  }
}
