/// Tells a transfer that trickles: what comes while it is waited for, over a window of waiting.
///
/// Time in which nobody waits does not count: a slow reader makes no server slow.
struct RateMeter: Sendable {
  /// Bytes a second; 0 for no limit.
  let minimum: Int64
  let window: Duration
  private var waited: Duration = .zero
  private var bytes: Int64 = 0

  init(minimum: Int64, window: Duration) {
    self.minimum = minimum
    self.window = window
  }

  init(_ configuration: RegistryClient.Configuration) {
    self.init(minimum: configuration.minimumRate, window: configuration.rateWindow)
  }

  /// Counts bytes that came after so long a wait; false when the window is over and it was too few.
  mutating func isFastEnough(_ count: Int, after wait: Duration) -> Bool {
    waited += wait
    bytes = bytes.addingReportingOverflow(Int64(count)).partialValue
    guard waited >= window else { return true }
    let seconds = Double(waited.components.seconds) + Double(waited.components.attoseconds) / 1e18
    let enough = Double(bytes) >= Double(minimum) * seconds
    waited = .zero
    bytes = 0
    return enough
  }

  /// The error of a server that is too slow.
  func failure(_ server: String) -> OCIError {
    OCIError(
      .timedOut, "\(server) is too slow: less than \(minimum) bytes a second over \(window.components.seconds) s",
      advice: "try again, or lower transfers.minimumRate in the configuration")
  }
}
