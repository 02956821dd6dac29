/// Reads the files of a commit that was fetched: names first, then sizes, then bytes, each checked ahead of the next.
struct GitReading: Sendable {
  let fetch: GitFetch
  let commit: String

  private var place: String { "\(fetch.url) at \(fetch.source.reference.words)" }
  private var limits: SourceLimits { fetch.source.limits }

  func run() async throws(SourceError) -> ([Artifact.File], [ArtifactHeader.Omission]) {
    let (wanted, omissions) = try await choose()
    guard !wanted.isEmpty else { return ([], omissions) }
    let sizes = try await sizes(of: wanted)
    return (try await contents(of: wanted, sizes: sizes), omissions)
  }

  private struct Wanted {
    var path: String
    var object: String
  }

  private func choose() async throws(SourceError) -> ([Wanted], [ArtifactHeader.Omission]) {
    var wanted: [Wanted] = []
    var omissions: [ArtifactHeader.Omission] = []
    for prefix in fetch.paths {
      // A name has 4,096 bytes at most, and most have a hundred: a listing that is longer has too many, or is a trap.
      let output = try await fetch.git(
        ["ls-tree", "-r", "-z", "--full-tree", commit] + (prefix.isEmpty ? [] : ["--", prefix]),
        outputLimit: min(limits.entries * 512, 256 << 20))
      let entries = try TreeEntry.parse(output, place: place)
      try SourceLimits.Count(limits, place: place).checkEntries(entries.count)
      if entries.isEmpty, !prefix.isEmpty {
        throw SourceError(.notFound, "\(place) has no \(prefix)", advice: "check the source's path")
      }
      for entry in entries {
        if let path = entry.path, path == prefix, entry.kind != .file {
          throw SourceError(
            .notFound, "\(place): \(prefix) is a symbolic link or a submodule, and is not followed",
            advice: "name the directory itself")
        }
        if entry.path == prefix, !SourcePaths.isManifest(entry.shown, below: prefix) {
          throw SourceError(
            .badSource, "\(place): \(prefix) is a file whose name ends in none of .yaml, .yml and .json",
            advice: "name a manifest, or a directory")
        }
        if let reason = Self.omission(entry, below: prefix) {
          omissions.append(.init(path: entry.shown, reason: reason))
        } else if entry.kind == .file, let path = entry.path, SourcePaths.isManifest(path, below: prefix) {
          wanted.append(Wanted(path: path, object: entry.object))
        }
      }
    }
    return (wanted, omissions)
  }

  /// Why an entry is left out that might be meant; nil for one that is read, and for one that is nobody's.
  private static func omission(_ entry: TreeEntry, below prefix: String) -> ArtifactHeader.Omission.Reason? {
    guard let path = entry.path, !Words.hasControl(path) else {
      return SourcePaths.isManifest(entry.shown, below: prefix) ? .badName : nil
    }
    if path.split(separator: "/", omittingEmptySubsequences: false).contains(where: {
      $0 == ".." || $0 == "." || $0.isEmpty
    }) {
      return .outside
    }
    guard !SourcePaths.isHidden(path, below: prefix) else { return nil }
    return switch entry.kind {
    case .symbolicLink: .symbolicLink
    case .submodule: .submodule
    case .other: .special
    case .file: nil
    }
  }

  private func list(_ wanted: [Wanted]) -> [UInt8] { Array(wanted.map { $0.object + "\n" }.joined().utf8) }

  private func sizes(of wanted: [Wanted]) async throws(SourceError) -> [Int] {
    let output = try await fetch.git(
      ["cat-file", "--batch-check", "--buffer"], input: list(wanted), outputLimit: wanted.count * 128)
    var reader = ObjectReader(output, place: place)
    var count = SourceLimits.Count(limits, place: place)
    var sizes: [Int] = []
    for file in wanted {
      let head = try reader.head()
      // The server kept it back, because it is larger than the limit.
      let size = head.kind == nil ? nil : head.size
      guard head.name == file.object, head.kind == nil || head.kind == "blob" else {
        throw SourceError(.corrupt, "\(place): \(Words.clean(file.path)) is no file")
      }
      try count.add(file.path, size: size)
      sizes.append(head.size)
    }
    return sizes
  }

  private func contents(of wanted: [Wanted], sizes: [Int]) async throws(SourceError) -> [Artifact.File] {
    let output = try await fetch.git(
      ["cat-file", "--batch", "--buffer"], input: list(wanted), outputLimit: sizes.reduce(wanted.count * 128, +))
    var reader = ObjectReader(output, place: place)
    var files: [Artifact.File] = []
    for (file, size) in zip(wanted, sizes) {
      let head = try reader.head()
      guard head.name == file.object, head.size == size else {
        throw SourceError(.corrupt, "\(place): \(Words.clean(file.path)) cannot be read")
      }
      files.append(try Artifact.File(checking: file.path, try reader.content(head), place: place))
    }
    return files
  }
}

extension Artifact.File {
  /// - Throws: SourceError `content` where the bytes are not UTF-8.
  init(checking path: String, _ bytes: [UInt8], place: String) throws(SourceError) {
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw SourceError(
        .content, "\(place): \(Words.clean(path)) is not UTF-8", advice: "save it as UTF-8, or give it another ending")
    }
    self.init(path: path, bytes: bytes)
  }
}
