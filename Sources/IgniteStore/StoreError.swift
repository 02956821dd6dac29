public import IgniteSystem

/// Why the object store refused.
public struct StoreError: UserFacingError {
  public enum Code: Sendable {
    case alreadyExists
    case conflict
    case notFound
    /// The database is damaged, locked for too long, or of a newer version.
    case unavailable
    /// The disk is full.
    case noSpace
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
