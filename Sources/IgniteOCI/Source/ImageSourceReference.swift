/// What a user can name as the source of an image.
public enum ImageSourceReference: Sendable, Hashable {
  /// An image in a registry.
  case registry(Reference)
  /// `oci:DIR[:TAG]`: an OCI image layout in a directory.
  case layout(path: String, tag: String?)

  /// Reads a source: `oci:DIR[:TAG]`, or else a reference.
  ///
  /// - Throws: `invalidReference`; `unsupported` for the transports that skopeo knows and this program does not.
  public init(_ text: String) throws(OCIError) {
    let transport = text.prefix { $0 != ":" }
    switch transport {
    case "oci" where text.count > transport.count:
      let parts = text.dropFirst(4).split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard let path = parts.first, !path.isEmpty else {
        throw OCIError(
          .invalidReference, "'\(OCIError.quoted(text))' names no directory", advice: "write oci:DIR or oci:DIR:TAG")
      }
      // A NUL would end the path early in a system call.
      guard !text.utf8.contains(0), text.utf8.count <= 4096 else {
        throw OCIError(.invalidReference, "'\(OCIError.quoted(text))' is no path")
      }
      let tag = parts.count == 2 ? String(parts[1]) : nil
      guard tag != "" else {
        throw OCIError(
          .invalidReference, "'\(OCIError.quoted(text))' has an empty tag", advice: "write oci:DIR or oci:DIR:TAG")
      }
      self = .layout(path: String(path), tag: tag)
    case "oci-archive", "docker-archive", "docker-daemon", "containers-storage", "dir":
      throw OCIError(
        .unsupported, "the source '\(transport):' is not yet supported",
        advice: "convert it: skopeo copy \(OCIError.quoted(text)) oci:DIR:TAG")
    // `docker:dind` is Docker Hub's image of that name; skopeo's transport is told by its slashes.
    case "docker" where text.hasPrefix("docker://"):
      throw OCIError(.invalidReference, "'\(OCIError.quoted(text))' has a scheme", advice: "leave out docker://")
    default:
      self = .registry(try Reference(text))
    }
  }

  /// The source itself; nothing is opened yet.
  public func source(client: RegistryClient = .shared) -> any ImageSource {
    switch self {
    case .registry(let reference): RegistrySource(reference, client: client)
    case .layout(let path, let tag): LayoutSource(path: path, tag: tag)
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
  }
}

extension ImageSourceReference: CustomStringConvertible {
  public var description: String {
    switch self {
    case .registry(let reference): reference.description
    case .layout(let path, let tag): "oci:\(path)" + (tag.map { ":\($0)" } ?? "")
    }
  }
}
