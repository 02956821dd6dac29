public import IgniteSystem

/// What can go wrong with a VM's network and its published ports.
public struct NetworkError: UserFacingError {
  public enum Code: String, Sendable, CaseIterable {
    /// A port specification that does not parse.
    case invalidPort
    /// The host's port is taken.
    case portInUse
    /// The host's port needs rights that the VM has not.
    case portNotPermitted
    /// The address is not one of this host's.
    case addressNotAvailable
    /// passt is not installed.
    case notInstalled
    /// passt could not start here.
    case startFailed
    /// The host's system refused a call.
    case system
  }

  public var code: Code
  public var message: String
  public var advice: String?
  public var cause: (any Error)?

  public init(_ code: Code, _ message: String, advice: String? = nil, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.advice = advice
    self.cause = cause
  }

  /// A failed system call.
  public init(_ error: SystemError) {
    self.init(.system, error.message, advice: error.advice, cause: error)
  }
}
