internal import IgniteOCI

/// What may be in an archive of images; beyond it reading ends with `limitExceeded`.
enum ArchiveLimits {
  /// Members of an archive.
  static let members: UInt64 = 100_000
  /// Bytes of all members' names together.
  static let names = 16 << 20
  /// Bytes of one member: those of the largest layer.
  static let memberBytes: UInt64 = 64 << 30
  /// Bytes of a packed archive, unpacked.
  static let unpackedBytes: UInt64 = 256 << 30
  /// Members of a stream that are larger than `smallBytes`; each is a file that is held open.
  static let spooledFiles = 512
  /// Members of a stream up to this size stay in memory, up to `memory` bytes together.
  static let smallBytes: UInt64 = 64 << 10
  static let memory = 16 << 20
  /// Links that lead to one another.
  static let links = 16
}

/// The members of an archive by their names, its links resolved within it.
struct ArchiveTable: Sendable {
  private enum Member: Sendable {
    case file(ArchiveContent)
    /// A symbolic or hard link, by the name that it stands for; nil for one that leads out of the archive.
    case link(String?)
    /// Stored with holes, so what lies in the archive is not its content.
    case sparse
  }

  private var members: [String: Member] = [:]
  private var nameBytes = 0

  /// Documents that nothing vouches for: two of them would be two archives in one.
  private static let documents: Set<String> = [
    DockerArchive.manifestName, LayoutImages.markerName, LayoutImages.indexName,
  ]

  /// The files that a stream's members are in.
  var spooled: [SpooledFile] {
    members.values.compactMap { member in
      if case .file(.spooled(let file)) = member { return file }
      return nil
    }
  }

  /// Whether there is a member of that name, a link or not.
  func has(_ name: String) -> Bool { members[name] != nil }

  /// Adds a regular file. Of two with one name the last counts, as for tar, but for the documents.
  mutating func add(_ name: String, _ content: ArchiveContent) throws(ImageError) {
    try put(name, .file(content))
  }

  mutating func addSparse(_ name: String) throws(ImageError) { try put(name, .sparse) }

  mutating func addSymbolicLink(_ name: String, to target: [UInt8]) throws(ImageError) {
    let folder = name.split(separator: "/").dropLast()
    try put(name, .link(target.first == 0x2f ? nil : Self.resolve(target, below: folder.map(String.init))))
  }

  mutating func addHardLink(_ name: String, to target: [UInt8]) throws(ImageError) {
    let target = Self.resolve(target, below: [])
    // A link to itself would hide what it is a link to.
    if target == name { return }
    try put(name, .link(target))
  }

  private mutating func put(_ name: String, _ member: Member) throws(ImageError) {
    if Self.documents.contains(name), has(name) {
      throw ImageError(
        .corrupt, "the archive has \(name) twice, so it is two archives in one", advice: "make the archive again")
    }
    nameBytes += name.utf8.count
    guard nameBytes <= ArchiveLimits.names else {
      throw ImageError(.limitExceeded, "the names in the archive have more than \(ArchiveLimits.names >> 20) MiB")
    }
    members[name] = member
  }

  /// A member's content, links followed.
  ///
  /// - Parameter name: as a document of the archive gives it.
  /// - Throws: `notFound`; `corrupt` for a name or a link that leads out of the archive, and for links in a circle.
  func file(_ name: String) throws(ImageError) -> ArchiveContent {
    let shown = displayName(name.utf8)
    guard name.utf8.first != 0x2f, var current = Self.resolve(Array(name.utf8), below: []) else {
      throw ImageError(.corrupt, "the archive names '\(shown)', which lies outside of it")
    }
    for _ in 0...ArchiveLimits.links {
      switch members[current] {
      case .file(let content): return content
      case .link(let target?): current = target
      case .link(nil):
        throw ImageError(.corrupt, "\(displayName(current.utf8)) is a link that leads out of the archive")
      case .sparse:
        throw ImageError(
          .unsupported, "\(displayName(current.utf8)) is stored in the archive with holes, which is not supported",
          advice: "pack the archive again without tar's --sparse")
      case nil:
        throw ImageError(
          .notFound, "the archive lacks \(shown)",
          advice: "was it cut short? compare its size with the original's, or make it again")
      }
    }
    throw ImageError(.corrupt, "\(shown) leads through more than \(ArchiveLimits.links) links")
  }

  /// A member's name in its one spelling; nil for one that no document can mean: with `..`, or not UTF-8.
  static func name(_ path: [UInt8]) -> String? {
    guard let text = String(validating: path, as: UTF8.self) else { return nil }
    let parts = text.split(separator: "/").filter { $0 != "." }
    return parts.isEmpty || parts.contains("..") ? nil : parts.joined(separator: "/")
  }

  /// A name relative to a folder of the archive; nil where it leads out of it.
  private static func resolve(_ target: [UInt8], below folder: [String]) -> String? {
    guard let text = String(validating: target, as: UTF8.self) else { return nil }
    var parts = folder
    for part in text.split(separator: "/") {
      switch part {
      case ".": continue
      case "..":
        guard !parts.isEmpty else { return nil }
        parts.removeLast()
      default: parts.append(String(part))
      }
    }
    return parts.isEmpty ? nil : parts.joined(separator: "/")
  }
}
