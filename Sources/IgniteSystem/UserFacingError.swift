/// What every module's error can tell its user: what failed, on what and why, and the next step.
///
/// The command line prints `message`, and `advice` after a semicolon, on one line; a debug dump is never shown.
public protocol UserFacingError: Error, Sendable, CustomStringConvertible {
  /// What failed, on what, and why; no trailing full stop, no line break.
  var message: String { get }
  /// What the user can do next, as an imperative; nil where nothing sensible can be said.
  var advice: String? { get }
}

extension UserFacingError {
  public var description: String {
    guard let advice else { return message }
    return "\(message); \(advice)"
  }
}

/// One line for any error: its own words where it is ours, the system's otherwise.
public func userMessage(_ error: any Error) -> String {
  if let error = error as? any UserFacingError { return error.description }
  if error is CancellationError { return "interrupted" }
  return String(describing: error)
}
