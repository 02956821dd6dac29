/// The name of an image in a registry: `registry/repository[:tag][@digest]` (distribution specification, Pulling
/// manifests), with Docker's short forms: `nginx` is `docker.io/library/nginx:latest`.
public struct Reference: Sendable, Hashable {
  /// Host and port: `docker.io`, `localhost:5000`, `[::1]:5000`.
  public let registry: String
  /// The path below the registry: `library/nginx`.
  public let repository: String
  /// nil only when there is a digest.
  public let tag: String?
  public let digest: Digest?

  /// The limits of the distribution specification and of its reference implementation, in bytes.
  static let longestName = 255
  static let longestTag = 128

  /// Reads a reference in any of its forms.
  ///
  /// - Throws: `invalidReference`, whose message says which part is wrong.
  public init(_ text: String) throws(OCIError) {
    var rest = text[...]
    func invalid(_ why: String, _ advice: String? = nil) -> OCIError {
      OCIError(.invalidReference, "'\(OCIError.quoted(text))' is no image reference: \(why)", advice: advice)
    }
    guard !rest.isEmpty else { throw OCIError(.invalidReference, "the image reference is empty") }
    // A bound before any work: registry, repository, tag and digest have limits of their own.
    guard text.utf8.count <= 1024 else { throw invalid("it is longer than 1024 bytes") }
    guard !text.contains("://") else {
      throw invalid("it has a scheme", "leave out everything up to and including ://")
    }

    var digest: Digest?
    if let at = rest.firstIndex(of: "@") {
      do throws(OCIError) {
        digest = try Digest(parsing: rest[rest.index(after: at)...])
      } catch {
        throw invalid(error.message)
      }
      rest = rest[..<at]
    }

    var tag: String?
    let lastSlash = rest.lastIndex(of: "/")
    if let colon = rest.lastIndex(of: ":"), lastSlash.map({ $0 < colon }) ?? true {
      let candidate = rest[rest.index(after: colon)...]
      if let why = ReferenceGrammar.problem(tag: candidate) { throw invalid(why) }
      tag = String(candidate)
      rest = rest[..<colon]
    }

    var registry = "docker.io"
    var repository = String(rest)
    if let slash = rest.firstIndex(of: "/"), ReferenceGrammar.isRegistry(rest[..<slash]) {
      registry = String(rest[..<slash])
      repository = String(rest[rest.index(after: slash)...])
      if let why = ReferenceGrammar.problem(registry: registry) { throw invalid(why) }
      if registry == "index.docker.io" || registry == "registry-1.docker.io" { registry = "docker.io" }
    }
    if let why = ReferenceGrammar.problem(repository: repository) { throw invalid(why) }
    if registry == "docker.io", !repository.contains("/") {
      guard !(repository.utf8.count == 64 && repository.allSatisfy(\.isHexDigit)) else {
        throw invalid("64 hex digits are no name", "write NAME@sha256:\(repository)")
      }
      repository = "library/\(repository)"
    }
    guard registry.utf8.count + 1 + repository.utf8.count <= Self.longestName else {
      throw invalid("registry and name together are longer than \(Self.longestName) bytes")
    }
    self.registry = registry
    self.repository = repository
    self.digest = digest
    self.tag = tag ?? (digest == nil ? "latest" : nil)
  }

  private init(registry: String, repository: String, tag: String?, digest: Digest?) {
    self.registry = registry
    self.repository = repository
    self.tag = tag
    self.digest = digest
  }

  /// `registry/repository`.
  public var name: String { "\(registry)/\(repository)" }

  /// The short form that people write: Docker's registry and `library/` left out.
  public var familiar: String {
    guard registry == "docker.io" else { return description }
    let short = repository.hasPrefix("library/") ? String(repository.dropFirst(8)) : repository
    // `library/a/b` and `library/localhost` would read as something else when they are shortened.
    let safe = !short.contains("/") || !repository.hasPrefix("library/")
    return (safe ? short : repository) + suffix
  }

  /// The same image by content.
  public func with(digest: Digest) -> Reference {
    Reference(registry: registry, repository: repository, tag: tag, digest: digest)
  }

  private var suffix: String { (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "") }
}

extension Reference: CustomStringConvertible, Codable {
  /// The canonical form: everything spelled out.
  public var description: String { name + suffix }

  public init(from decoder: any Decoder) throws {
    try self.init(try decoder.singleValueContainer().decode(String.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
