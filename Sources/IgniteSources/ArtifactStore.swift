internal import Crypto
internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// Keeps a source's artifacts in a directory: each a file that is never changed, named by its place in the order and its SHA-256.
///
/// A file is written under another name, synced, renamed, and its directory synced: after a crash it is whole or not there. The
/// newest ones are kept, up to a number and a size; the last of them always. Processes may share a store.
public struct ArtifactStore: Sendable {
  public struct Retention: Sendable, Hashable {
    public var count: Int
    public var bytes: Int

    public init(count: Int = 3, bytes: Int = 256 << 20) {
      self.count = max(1, count)
      self.bytes = bytes
    }
  }

  /// A file of the store.
  public struct Entry: Sendable, Hashable, Comparable {
    /// Later ones are higher.
    public let number: UInt64
    /// The hex digits of the file's SHA-256.
    public let digest: String
    public let bytes: Int

    var name: String {
      String(repeating: "0", count: max(0, 12 - String(number).count)) + "\(number)-\(digest).artifact"
    }

    init(number: UInt64, digest: String, bytes: Int) {
      self.number = number
      self.digest = digest
      self.bytes = bytes
    }

    init?(name: String, bytes: Int) {
      let parts = name.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count == 2, parts[1] == "artifact" else { return nil }
      let halves = parts[0].split(separator: "-", omittingEmptySubsequences: false)
      guard halves.count == 2, let number = UInt64(halves[0]), halves[1].utf8.count == 64, isObjectName(halves[1])
      else {
        return nil
      }
      self.init(number: number, digest: String(halves[1]), bytes: bytes)
      guard self.name == name else { return nil }
    }

    public static func < (left: Entry, right: Entry) -> Bool {
      (left.number, left.digest) < (right.number, right.digest)
    }
  }

  public let directory: String
  private let retention: Retention

  private static let newPrefix = ".new-"
  private static let magic = "ignite-artifact/1 "
  /// What is written by no source's limits is not read either.
  private static let largest = 1 << 31

  /// - Parameter directory: of this source alone; made by the first artifact.
  public init(directory: String, retention: Retention = Retention()) {
    self.directory = directory
    self.retention = retention
  }

  /// Keeps an artifact as the newest one, and removes what need not be kept any more. That of the newest already changes nothing.
  public func put(_ artifact: Artifact) async throws(SourceError) {
    try await blocking { () throws(SystemError) in
      try makePrivateDirectory(directory)
      let lock = try FileLock.lock(directory + "/lock")
      defer { lock.unlock() }
      let pieces = Self.encoded(artifact)
      var hash = SHA256()
      for piece in pieces { piece.withUnsafeBytes { hash.update(bufferPointer: $0) } }
      let digest = hex(hash.finalize())
      let newest = try entries().last
      let isNewest = newest?.digest == digest
      if !isNewest || newest.map(isGood) == false {
        let number = (newest?.number ?? 0) + (isNewest ? 0 : 1)
        let entry = Entry(number: number, digest: digest, bytes: pieces.reduce(0) { $0 + $1.count })
        let new = "\(directory)/\(Self.newPrefix)\(digest)"
        unlink(new)
        try writeNewFile(new, pieces, sync: true)
        try retrying("rename \(new)") { Int(rename(new, path(entry))) }
      }
      try syncDirectory()
      try collectLocked()
    }
  }

  /// The newest artifact, read back and checked; nil where there is none.
  ///
  /// - Throws: SourceError `corrupt` where it is damaged. An older one in its stead would set back what runs.
  public func newest() async throws(SourceError) -> Artifact? {
    guard let entry = try await list().last else { return nil }
    return try await read(entry)
  }

  /// What is there, the newest last.
  public func list() async throws(SourceError) -> [Entry] {
    try await blocking { () throws(SystemError) in try entries() }
  }

  /// Reads an artifact back and checks it.
  public func read(_ entry: Entry) async throws(SourceError) -> Artifact {
    let path = path(entry)
    let bytes = try await blocking { () throws(SystemError) in try readWhole(path, limit: Self.largest) }
    guard hex(SHA256.hash(data: bytes)) == entry.digest, let artifact = Self.decoded(bytes) else {
      throw SourceError(
        .corrupt, "the artifact \(path) is damaged", advice: "remove it; the source is fetched again then")
    }
    return artifact
  }

  /// Removes what a crash left half-written, and what need not be kept.
  public func collect() async throws(SourceError) {
    try await blocking { () throws(SystemError) in
      guard access(directory, F_OK) == 0 else { return }
      let lock = try FileLock.lock(directory + "/lock")
      defer { lock.unlock() }
      try collectLocked()
    }
  }

  private func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () throws(SystemError) -> Value
  ) async throws(SourceError) -> Value {
    do {
      return try await ThreadExecutor.run(name: "ignite-artifact", body)
    } catch {
      throw SourceError(error)
    }
  }

  private func path(_ entry: Entry) -> String { "\(directory)/\(entry.name)" }

  private func isGood(_ entry: Entry) -> Bool {
    (try? readWhole(path(entry), limit: Self.largest)).map { hex(SHA256.hash(data: $0)) } == entry.digest
  }

  private func collectLocked() throws(SystemError) {
    for name in try directoryNames(directory) where name.hasPrefix(Self.newPrefix) { unlink("\(directory)/\(name)") }
    var bytes = 0
    for (index, entry) in try entries().reversed().enumerated() {
      bytes += entry.bytes
      if index > 0, index >= retention.count || bytes > retention.bytes { unlink(path(entry)) }
    }
  }

  private func entries() throws(SystemError) -> [Entry] {
    guard access(directory, F_OK) == 0 else { return [] }
    return try directoryNames(directory).compactMap { name -> Entry? in
      var info = stat()
      guard lstat("\(directory)/\(name)", &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
      return Entry(name: name, bytes: Int(info.st_size))
    }.sorted()
  }

  private func syncDirectory() throws(SystemError) {
    let descriptor = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
    try retrying("sync \(directory)") { Int(fsync(descriptor.number)) }
  }

  // MARK: Format

  /// A line with the header's length, the header as JSON, and the files' bytes one after the other.
  private static func encoded(_ artifact: Artifact) -> [[UInt8]] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    // It has text, numbers and lists only, which JSON always takes.
    let header = (try? encoder.encode(artifact.header)).map { Array($0) } ?? []
    return [Array("\(magic)\(header.count)\n".utf8), header] + artifact.files.map(\.bytes)
  }

  private static func decoded(_ bytes: [UInt8]) -> Artifact? {
    guard let end = bytes.prefix(64).firstIndex(of: 0x0a), bytes.starts(with: magic.utf8),
      let count = Int(String(decoding: bytes[magic.utf8.count..<end], as: UTF8.self)), count >= 0
    else { return nil }
    let rest = bytes[(end + 1)...]
    guard count <= rest.count else { return nil }
    guard let header = try? JSONDecoder().decode(ArtifactHeader.self, from: Data(rest.prefix(count))) else {
      return nil
    }
    return Artifact(header: header, bytes: rest.dropFirst(count))
  }
}

/// A file's bytes; one that is larger than `limit` is an error.
func readWhole(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
  try readWhole(FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW), path, limit: limit)
}

func readWhole(_ file: FileDescriptor, _ path: String, limit: Int) throws(SystemError) -> [UInt8] {
  var info = stat()
  try retrying("read \(path)") { Int(fstat(file.number, &info)) }
  guard info.st_size <= limit else { throw SystemError("read \(path)", code: EFBIG) }
  var content: [UInt8] = []
  content.reserveCapacity(Int(info.st_size))
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = try retrying("read \(path)") { read(file.number, &buffer, buffer.count) }
    if count == 0 { return content }
    content.append(contentsOf: buffer[..<count])
    guard content.count <= limit else { throw SystemError("read \(path)", code: EFBIG) }
  }
}
