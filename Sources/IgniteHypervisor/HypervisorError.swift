public import IgniteSystem

/// What can go wrong with a hypervisor and its machines.
public struct HypervisorError: UserFacingError {
  public enum Code: String, Sendable, CaseIterable {
    /// The hypervisor is not installed.
    case notInstalled
    /// It is there, and too old.
    case tooOld
    /// This driver or this host cannot do what was asked.
    case unsupported
    /// The configuration is not one that a machine can be made of.
    case invalidConfiguration
    /// It ended before the machine ran.
    case startFailed
    /// The machine has ended, or its control socket is closed.
    case gone
    /// No answer in time.
    case timeout
    /// The hypervisor refused a command, or spoke something else than its protocol.
    case protocolError
    /// A template is not what was saved.
    case damaged
    /// More than the configuration allows.
    case limitExceeded
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
