public import IgniteSystem

/// What can go wrong with images, layers, disks and kernels.
public struct ImageError: UserFacingError {
  /// The kind of a failure: what a program decides by.
  public enum Code: String, Sendable, CaseIterable {
    /// No such image, kernel, blob, entry or file.
    case notFound
    /// A name or reference that does not parse.
    case invalidReference
    /// Data that breaks its digest, its size or its format.
    case corrupt
    /// Data beyond a limit of this program: a bomb, or more than it is built for.
    case limitExceeded
    /// Valid, and not something that this program can do.
    case unsupported
    /// The host's system refused a call on a file.
    case io
    /// The name is taken.
    case alreadyExists
    /// Something still uses it.
    case inUse
    /// The host's or the disk's space is used up.
    case noSpace
    /// The caller gave up.
    case cancelled
  }

  /// The kind of failure.
  public var code: Code
  /// What failed, on what, and why: one line, without a full stop at its end.
  public var message: String
  /// What the user can do next, as an imperative.
  public var advice: String?
  /// The error that led to this one.
  public var cause: (any Error)?

  public init(_ code: Code, _ message: String, advice: String? = nil, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.advice = advice
    self.cause = cause
  }

  /// The same error, told of a larger thing: `layer 2 of app:1: the data ends early`.
  public func of(_ subject: String) -> ImageError {
    var error = self
    error.message = "\(subject): \(message)"
    return error
  }
}
