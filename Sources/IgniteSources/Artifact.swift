internal import Crypto

/// All that is known of an artifact but its files' bytes.
public struct ArtifactHeader: Sendable, Equatable, Codable {
  /// A file's place in the artifact.
  public struct Entry: Sendable, Equatable, Codable {
    public var path: String
    public var size: Int
  }

  /// The commit that it was read from.
  public struct Commit: Sendable, Equatable, Codable {
    /// 40 or 64 hex digits.
    public var id: String
    /// At most 64.
    public var parents: [String]
    /// `Name <address>`, at most 200 characters.
    public var author: String
    /// Seconds since 1970.
    public var authored: Int64
    public var committed: Int64
    /// The message's first line, at most 200 characters.
    public var subject: String
  }

  /// A file or directory that was left out.
  public struct Omission: Sendable, Equatable, Codable {
    public enum Reason: String, Sendable, Codable {
      case symbolicLink = "a symbolic link"
      case submodule = "a submodule"
      case badName = "its name is not UTF-8, or has control characters"
      case outside = "its path leads out"
      case special = "neither a file nor a directory"
      case beingWritten = "it is being written"
      case unreadable = "it may not be read"
    }
    /// Made fit to be shown.
    public var path: String
    public var reason: Reason
  }

  /// The URL or the directory.
  public var origin: String
  /// As Flux writes it: `main@sha1:…` of a branch or tag, `sha1:…` of a commit, `sha256:…` of a directory's content.
  public var revision: String
  /// What was read of the source; "" is all of it.
  public var paths: [String]
  public var commit: Commit?
  /// By path, in the order of their bytes.
  public var entries: [Entry]
  /// The first 1,000 of what was left out, and how much it was.
  public var omissions: [Omission]
  public var omitted: Int
  /// `sha256:…` of all paths and contents, and of nothing else: equal content has an equal digest.
  public var digest: String
  public var totalBytes: Int { entries.reduce(0) { $0 + $1.size } }
}

/// What became of a branch between two looks at it, as far as a fetch without history can tell.
public enum Succession: String, Sendable, Codable {
  /// The same commit.
  case same
  /// The commit that was known is a parent of this one.
  case follows
  /// It is not: there were several commits in between, or the branch was rewritten or set back.
  case jumps
  /// This commit has no parents at all, or is older than the one that was known: the branch was rewritten or set back.
  case rewinds
}

/// The files of one revision of a source. It never changes.
public struct Artifact: Sendable, Equatable {
  public struct File: Sendable, Equatable {
    /// Relative to the source's root, valid UTF-8, without `.` and `..`.
    public var path: String
    public var bytes: [UInt8]

    public init(path: String, bytes: [UInt8]) {
      self.path = path
      self.bytes = bytes
    }
  }

  public let header: ArtifactHeader
  public let files: [File]

  public var revision: String { header.revision }
  public var digest: String { header.digest }

  static let mostOmissions = 1000

  /// - Parameter revision: nil for one that is the content's digest.
  public init(
    origin: String, revision: String?, paths: [String] = [""], commit: ArtifactHeader.Commit? = nil, files: [File],
    omissions: [ArtifactHeader.Omission] = []
  ) {
    let files = files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    let digest = Self.digest(files)
    self.files = files
    header = ArtifactHeader(
      origin: origin, revision: revision ?? digest, paths: paths, commit: commit,
      entries: files.map { .init(path: $0.path, size: $0.bytes.count) },
      omissions: Array(omissions.prefix(Self.mostOmissions)), omitted: omissions.count, digest: digest)
  }

  /// An artifact that was stored. Nil where the bytes are not those of the header.
  init?(header: ArtifactHeader, bytes: ArraySlice<UInt8>) {
    var rest = bytes
    var files: [File] = []
    for entry in header.entries {
      guard entry.size >= 0, entry.size <= rest.count else { return nil }
      files.append(File(path: entry.path, bytes: Array(rest.prefix(entry.size))))
      rest = rest.dropFirst(entry.size)
    }
    guard rest.isEmpty, Self.digest(files) == header.digest else { return nil }
    self.header = header
    self.files = files
  }

  /// Each file as its path's length, its path, its content's length and its content; so no two sets of files share one.
  private static func digest(_ files: [File]) -> String {
    var hash = SHA256()
    for file in files {
      for part in [Array(file.path.utf8), file.bytes] {
        withUnsafeBytes(of: UInt64(part.count).bigEndian) { hash.update(bufferPointer: $0) }
        part.withUnsafeBytes { hash.update(bufferPointer: $0) }
      }
    }
    return "sha256:" + hex(hash.finalize())
  }

  /// How this revision stands to the one before it; nil where either is no commit.
  public func succession(after known: ArtifactHeader) -> Succession? {
    guard let old = known.commit, let new = header.commit else { return nil }
    if old.id == new.id { return .same }
    if new.parents.contains(old.id) { return .follows }
    return new.parents.isEmpty || new.committed < old.committed ? .rewinds : .jumps
  }
}

func hex(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// Whether a text is an object's name in git, of SHA-1 or SHA-256.
func isObjectName(_ text: some StringProtocol) -> Bool {
  (text.utf8.count == 40 || text.utf8.count == 64)
    && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
}
