public import IgniteSystem

/// Why a source could not be read. It never holds a credential; what a server said is cut to one short line.
public struct SourceError: UserFacingError {
  /// The kind of failure, for code that has to tell them apart.
  public enum Code: String, Sendable, Hashable, Codable, CaseIterable {
    /// The URL is none that is fetched from.
    case badURL
    /// Something else of the source's own description is wrong: its reference, a path, a credential.
    case badSource
    /// There is no git, or none that is new enough.
    case noGit
    /// The server could not be reached, or broke off.
    case unreachable
    /// The server, or the file system, refuses access.
    case authentication
    /// The SSH server's key is not known, or another than the one that is known.
    case hostKey
    /// The server's TLS certificate is not trusted.
    case certificate
    /// It took longer than the source's timeout.
    case timeout
    /// There is no such repository, branch, tag, version, commit, path or directory.
    case notFound
    /// The repository has no commits.
    case empty
    /// More, or larger, than the limits allow.
    case tooLarge
    /// A file is not UTF-8.
    case content
    /// What came, or what was stored, is damaged.
    case corrupt
    /// This machine's file system refused something.
    case fileSystem
    /// The task was cancelled.
    case cancelled
    /// Anything else that git says.
    case failed
  }

  public let code: Code
  public let message: String
  public let advice: String?

  public init(_ code: Code, _ message: String, advice: String? = nil) {
    self.code = code
    self.message = message
    self.advice = advice
  }

  /// Whether trying again is useless until somebody changes the source's description or this machine.
  public var isLasting: Bool {
    switch code {
    case .badURL, .badSource, .noGit: true
    default: false
    }
  }

  static let cancelled = SourceError(.cancelled, "interrupted")

  init(_ error: SystemError) { self.init(.fileSystem, error.message, advice: error.advice) }
}

/// Text of others made fit for a message.
enum Words {
  /// One line of at most `limit` characters, without control characters, and with `secrets` blotted out.
  static func clean(_ text: some StringProtocol, limit: Int = 300, hiding secrets: [String] = []) -> String {
    var text = String(text)
    for secret in secrets where !secret.isEmpty {
      text = text.split(separator: secret, omittingEmptySubsequences: false).joined(separator: "***")
    }
    var result = ""
    for scalar in text.unicodeScalars.prefix(limit) {
      let isControl = scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
      let isDirection =
        (0x200e...0x200f).contains(scalar.value) || (0x2028...0x202e).contains(scalar.value)
        || (0x2066...0x2069).contains(scalar.value)
      result.unicodeScalars.append(isControl || isDirection ? " " : scalar)
    }
    return text.unicodeScalars.count > limit ? result + "..." : result
  }

  static func hasControl(_ text: some StringProtocol) -> Bool {
    text.utf8.contains { $0 < 0x20 || $0 == 0x7f } || text.unicodeScalars.contains { (0x80..<0xa0).contains($0.value) }
  }
}
