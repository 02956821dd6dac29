public import IgniteSystem

/// Why the object store refused.
public struct StoreError: UserFacingError {
  public enum Code: Sendable {
    case alreadyExists
    case conflict
    case notFound
    /// The database is locked for too long, or of a newer version.
    case unavailable
    /// It is not whole, or gone while what it told of is there.
    case damaged
    /// The disk is full.
    case noSpace
    /// The disk takes no writes, or the database not from this user.
    case readOnly
    /// What was asked makes no sense.
    case invalid
    /// Too long ago to be known.
    case expired
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

extension StoreError {
  static func damaged(_ path: String, _ reason: String, cause: (any Error)?) -> StoreError {
    StoreError(
      .damaged, "the database \(path) is damaged: \(reason)",
      advice: "put a copy of it back, or have all of it kept aside and begin anew: ignite doctor --fix", cause: cause)
  }
}
