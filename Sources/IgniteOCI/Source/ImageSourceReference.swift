/// What a user can name as the source of an image.
public enum ImageSourceReference: Sendable, Hashable {
  /// An image in a registry.
  case registry(Reference)
  /// `oci:DIR[:TAG]`: an OCI image layout in a directory.
  case layout(path: String, tag: String?)
  /// `oci-archive:FILE[:TAG]` and `docker-archive:FILE[:REF|:@INDEX]`: an image of a tar archive.
  case archive(ArchiveFormat, path: String, image: String?)
  /// `docker-daemon:NAME[:TAG]`: an image that the Docker daemon of this machine has, by name or ID.
  case dockerDaemon(image: String)
  /// `-`: an archive from standard input.
  case standardInput

  /// The two kinds of archive.
  public enum ArchiveFormat: String, Sendable, Hashable {
    /// An OCI image layout.
    case oci = "oci-archive"
    /// What `docker save` writes.
    case docker = "docker-archive"
  }

  /// Reads a source: `-`, one with a transport before it, or else a reference.
  ///
  /// - Throws: `invalidReference`; `unsupported` for the transports that skopeo knows and this program does not.
  public init(_ text: String) throws(OCIError) {
    let transport = text.prefix { $0 != ":" }
    switch transport {
    case "oci" where text.count > transport.count:
      let (path, tag) = try Self.pathAndImage(text, "oci:DIR or oci:DIR:TAG")
      self = .layout(path: path, tag: tag)
    case "oci-archive" where text.count > transport.count:
      let (path, tag) = try Self.pathAndImage(text, "oci-archive:FILE or oci-archive:FILE:TAG")
      self = .archive(.oci, path: path, image: tag)
    case "docker-archive" where text.count > transport.count:
      let usage = "docker-archive:FILE, docker-archive:FILE:NAME:TAG or docker-archive:FILE:@INDEX"
      let (path, image) = try Self.pathAndImage(text, usage)
      if let image {
        if image.hasPrefix("@") {
          guard let index = Int(image.dropFirst()), (0..<100_000).contains(index) else {
            throw OCIError(
              .invalidReference, "'\(OCIError.quoted(text))' has no number after its @", advice: "write \(usage)")
          }
        } else {
          _ = try Reference(image)
        }
      }
      self = .archive(.docker, path: path, image: image)
    case "docker-daemon" where text.count > transport.count:
      let image = String(text.dropFirst(transport.count + 1))
      if !Self.isImageID(image) { _ = try Reference(image) }
      self = .dockerDaemon(image: image)
    case "-" where text == "-":
      self = .standardInput
    case "containers-storage", "dir":
      throw OCIError(
        .unsupported, "the source '\(transport):' is not supported",
        advice: "convert it: skopeo copy \(OCIError.quoted(text)) oci:DIR:TAG")
    // `docker:dind` is Docker Hub's image of that name; skopeo's transport is told by its slashes.
    case "docker" where text.hasPrefix("docker://"):
      throw OCIError(.invalidReference, "'\(OCIError.quoted(text))' has a scheme", advice: "leave out docker://")
    default:
      self = .registry(try Reference(text))
    }
  }

  /// What stands after the transport: a path up to the first colon, and what chooses an image behind it.
  private static func pathAndImage(
    _ text: String, _ usage: String
  ) throws(OCIError) -> (path: String, image: String?) {
    func invalid(_ why: String) -> OCIError {
      OCIError(.invalidReference, "'\(OCIError.quoted(text))' \(why)", advice: "write \(usage)")
    }
    let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).dropFirst()
    guard let path = parts.first, !path.isEmpty else { throw invalid("names no path") }
    // A NUL would end the path early in a system call.
    guard !text.utf8.contains(0), text.utf8.count <= 4096 else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(text))' is no path")
    }
    let image = parts.count == 2 ? parts.last.map(String.init) : nil
    guard image != "" else { throw invalid("has an empty tag") }
    return (String(path), image)
  }

  /// Whether the Docker daemon would take `text` for an image's ID: `sha256:` and 64 hex digits.
  static func isImageID(_ text: String) -> Bool { text.hasPrefix("sha256:") && Digest(text) != nil }

  /// Whether the source alone tells what its image is called; an archive's name stands within it, and may be another
  /// one at each look.
  public var namesItsImage: Bool {
    switch self {
    case .registry, .layout, .dockerDaemon: true
    case .archive, .standardInput: false
    }
  }

  /// The name that an image of this source gets when its user gives none.
  ///
  /// A layout's is `localhost/DIR:TAG` with what a reference cannot hold replaced; where its tag is a full reference,
  /// that reference.
  public func defaultName() throws(OCIError) -> Reference {
    switch self {
    case .registry(let reference): return reference
    case .layout(let path, let tag):
      if let tag, tag.contains("/"), let reference = try? Reference(tag) { return reference }
      return try Self.localName(path, tag: tag)
    case .archive(_, let path, let image):
      if let image, image.contains(where: { $0 == "/" || $0 == ":" }), let reference = try? Reference(image) {
        return reference
      }
      return try Self.localName(Self.withoutArchiveSuffix(path), tag: image)
    case .dockerDaemon(let image):
      guard Self.isImageID(image) else { return try Reference(image) }
      return try Reference("localhost/image:\(image.dropFirst(7).prefix(12))")
    case .standardInput: return try Reference("localhost/image:latest")
    }
  }

  /// `localhost/NAME:TAG`, of a path's last component and a tag where it can be one.
  private static func localName(_ path: String, tag: String?) throws(OCIError) -> Reference {
    var name = ""
    for byte in path.split(separator: "/").last(where: { $0 != "." && $0 != ".." })?.utf8.prefix(100)
      ?? "".utf8.prefix(0)
    {
      let lower = byte >= 65 && byte <= 90 ? byte + 32 : byte
      let valid = (lower >= 97 && lower <= 122) || (lower >= 48 && lower <= 57)
      if valid {
        name.unicodeScalars.append(Unicode.Scalar(lower))
      } else if !name.isEmpty && name.last != "-" {
        name += "-"
      }
    }
    while name.last == "-" { name.removeLast() }
    if name.isEmpty { name = "image" }
    let usable = tag.flatMap { ReferenceGrammar.problem(tag: $0) == nil ? $0 : nil }
    return try Reference("localhost/\(name):\(usable ?? "latest")")
  }

  private static func withoutArchiveSuffix(_ path: String) -> String {
    for suffix in [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"] where path.lowercased().hasSuffix(suffix) {
      return String(path.dropLast(suffix.count))
    }
    return path
  }
}

extension ImageSourceReference: CustomStringConvertible {
  public var description: String {
    switch self {
    case .registry(let reference): reference.description
    case .layout(let path, let tag): "oci:\(path)" + (tag.map { ":\($0)" } ?? "")
    case .archive(let format, let path, let image): "\(format.rawValue):\(path)" + (image.map { ":\($0)" } ?? "")
    case .dockerDaemon(let image): "docker-daemon:\(image)"
    case .standardInput: "standard input"
    }
  }
}
