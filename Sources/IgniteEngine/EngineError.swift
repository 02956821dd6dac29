public import IgniteSystem

/// Why an operation failed.
public struct EngineError: UserFacingError {
  public enum Code: Sendable {
    case invalidArgument
    case notFound
    case ambiguous
    case alreadyExists
    /// The object is not in a state in which this can be done.
    case wrongState
    /// Somebody else has changed the object meanwhile.
    case conflict
    case unavailable
    case interrupted
  }

  public let code: Code
  public let message: String
  public let advice: String?
  public let cause: (any Error)?

  public init(_ code: Code, _ message: String, advice: String? = nil, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.advice = advice
    self.cause = cause
  }
}
