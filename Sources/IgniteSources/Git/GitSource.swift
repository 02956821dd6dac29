internal import FoundationEssentials

/// Where a git repository is, what of it is wanted, and how it is reached.
public struct GitSource: Sendable {
  /// See GitURL.
  public var url: String
  public var reference: GitReference
  /// Directories or files of the repository that are read, "." for all of it.
  public var paths: [String]
  public var credentials: GitCredentials
  /// For all of one fetch.
  public var timeout: Duration
  public var limits: SourceLimits

  public init(
    url: String, reference: GitReference = GitReference(), paths: [String] = ["."],
    credentials: GitCredentials = GitCredentials(), timeout: Duration = .seconds(60),
    limits: SourceLimits = SourceLimits()
  ) {
    self.url = url
    self.reference = reference
    self.paths = paths
    self.credentials = credentials
    self.timeout = timeout
    self.limits = limits
  }
}

/// What a server is shown, and by what it is known. Nothing of it is printed, and nothing is on a command line.
public struct GitCredentials: Sendable, CustomStringConvertible, CustomReflectable {
  /// A private key for ssh, as OpenSSH or PEM writes it.
  public var identity: [UInt8]?
  public var identityPassphrase: String?
  /// The servers' keys, in the lines of known_hosts (sshd(8)).
  public var knownHosts: [UInt8]?
  /// Of HTTP's Basic.
  public var username: String?
  public var password: String?
  /// Of HTTP's Bearer; wins over user and password.
  public var bearerToken: String?
  /// The certificates, in PEM, by which a TLS server is known, instead of the system's.
  public var caFile: [UInt8]?

  public init() {}

  /// A Secret's data, by Flux's names: `identity`, `password` (also the key's passphrase), `known_hosts`, `username`,
  /// `bearerToken`, `caFile` or `ca.crt`. Names beside these are left alone.
  public init(secret: [String: [UInt8]]) throws(SourceError) {
    func text(_ name: String) throws(SourceError) -> String? {
      guard let bytes = secret[name] else { return nil }
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw SourceError(.badSource, "the secret's \(name) is not UTF-8")
      }
      // Files that were made by an editor or by echo end with a line break.
      return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
    identity = secret["identity"]
    knownHosts = secret["known_hosts"]
    username = try text("username")
    password = try text("password")
    bearerToken = try text("bearerToken")
    caFile = secret["caFile"] ?? secret["ca.crt"]
    if identity != nil { identityPassphrase = password }
  }

  static let largest = 1 << 20

  public var description: String { "GitCredentials" }
  public var customMirror: Mirror { Mirror(self, children: []) }

  /// What must not be in any message.
  var secrets: [String] {
    [password, identityPassphrase, bearerToken, authorization].compactMap { $0 }.filter { $0.utf8.count > 2 }
  }

  /// The value of HTTP's Authorization.
  var authorization: String? {
    if let bearerToken { return "Bearer \(bearerToken)" }
    guard username != nil || password != nil else { return nil }
    return "Basic " + Data("\(username ?? ""):\(password ?? "")".utf8).base64EncodedString()
  }

  /// What would be sent unseen, or not at all.
  func check(for url: GitURL) throws(SourceError) {
    for (name, bytes) in [("identity", identity), ("known hosts", knownHosts), ("CA file", caFile)]
    where bytes?.isEmpty == true || bytes?.count ?? 0 > Self.largest {
      throw SourceError(.badSource, "the \(name) is empty, or has more than \(Self.largest) bytes")
    }
    for (name, text) in [
      ("user", username), ("password", password), ("token", bearerToken), ("passphrase", identityPassphrase),
    ] {
      guard let text else { continue }
      guard !text.isEmpty, text.utf8.count <= 16384, !Words.hasControl(text) else {
        throw SourceError(.badSource, "the \(name) is empty, too long, or has control characters")
      }
    }
    if bearerToken == nil, username?.contains(":") == true {
      throw SourceError(.badSource, "a user's name may not have a colon")
    }
    guard url.transport == .ssh else { return }
    guard knownHosts != nil else {
      throw SourceError(
        .hostKey, "\(url): the server's key is not known, as there are no known hosts",
        advice: "give the lines that ssh-keyscan \(url.host) prints, once you have checked them")
    }
    guard identity != nil else {
      throw SourceError(
        .authentication, "\(url): there is no key to log in with",
        advice: "give a deploy key's private part as the identity")
    }
  }
}
