public import IgniteSystem

/// What went wrong with a reference, a registry, a layout or a document from one of them.
public struct OCIError: UserFacingError {
  /// The kind of failure, for code that has to tell them apart.
  public enum Code: String, Sendable, Hashable, CaseIterable {
    /// A reference, digest or platform is not spelled as its grammar wants.
    case invalidReference
    /// A kind of source or content that is known by name and not supported.
    case unsupported
    /// A manifest, index or configuration is not valid.
    case invalidDocument
    /// A document is larger, longer or deeper than the limits allow.
    case limitExceeded
    /// The image has nothing for the platform asked for.
    case noSuitablePlatform
    /// Content does not have the digest that names it.
    case digestMismatch
    /// Content is shorter or longer than its descriptor says.
    case sizeMismatch
    /// The registry could not be reached, or the connection was lost.
    case unreachable
    /// The registry did not answer, or stopped sending, for too long.
    case timedOut
    /// The secure connection could not be made.
    case tls
    /// The name, tag or blob is not there.
    case notFound
    /// The registry refuses access.
    case denied
    /// The registry answered what it must not.
    case badResponse
    /// A directory is no OCI image layout.
    case invalidLayout
    /// The file system refused something.
    case fileSystem
    /// The task was cancelled.
    case cancelled
  }

  public let code: Code
  public let message: String
  public let advice: String?
  /// The failure beneath this one, where there is one.
  public let cause: (any Error)?

  public init(_ code: Code, _ message: String, advice: String? = nil, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.advice = advice
    self.cause = cause
  }

  /// The error of a cancelled task.
  public static var cancelled: OCIError { OCIError(.cancelled, "interrupted", cause: CancellationError()) }

  /// A copy whose message starts with what was being worked on.
  public func prefixed(_ subject: String) -> OCIError {
    code == .cancelled ? self : OCIError(code, "\(subject): \(message)", advice: advice, cause: cause)
  }
}

extension OCIError {
  /// Text from a registry or a file made fit for a message: printable ASCII on one line, cut to a bounded length.
  static func quoted(_ text: some StringProtocol, limit: Int = 120) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(limit) {
      if scalar.value >= 0x20 && scalar.value < 0x7f {
        result.unicodeScalars.append(scalar)
      } else {
        result.append("?")
      }
    }
    return text.unicodeScalars.count > limit ? result + "..." : result
  }
}
