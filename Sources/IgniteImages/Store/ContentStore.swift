internal import Glibc
public import IgniteOCI

/// Blobs by their digest: `<root>/content/blobs/sha256/<hex>`, and `<root>/content/ingest/` for those under way.
///
/// A blob appears under its digest only once its content has that digest and is on stable storage; so several
/// processes may write at once, even the same blob. All calls block; `ImageImporter` makes them on threads of its own.
public struct ContentStore: Sendable {
  /// The data root, which others share.
  public let root: String

  /// Whether what is written is brought to stable storage before it gets its name. Without it a power cut may leave
  /// damaged blobs and disks behind; a process that dies leaves nothing damaged either way.
  public let syncs: Bool

  public init(root: String, syncs: Bool = true) {
    self.root = root
    self.syncs = syncs
  }

  var blobs: String { "\(root)/content/blobs/sha256" }
  var ingest: String { "\(root)/content/ingest" }
  var disks: String { "\(root)/disks" }

  /// Where a blob is, or would be.
  ///
  /// - Throws: `unsupported` for a digest other than sha256.
  public func path(of digest: Digest) throws(ImageError) -> String {
    guard digest.algorithm == .sha256 else {
      throw ImageError(
        .unsupported, "content \(digest.short) is named by \(digest.algorithm.rawValue), which is not supported",
        advice: "push the image again with sha256 digests")
    }
    return "\(blobs)/\(digest.hex)"
  }

  /// Whether the blob is here, whole.
  public func has(_ digest: Digest) -> Bool { (try? size(of: digest)) != nil }

  /// A blob's bytes on disk.
  ///
  /// - Throws: `notFound`, `io`.
  public func size(of digest: Digest) throws(ImageError) -> Int64 {
    let path = try path(of: digest)
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw ImageError(.notFound, "blob \(digest) is not in the store")
    }
    return Int64(status.st_size)
  }

  /// A blob as a stream.
  public func open(_ digest: Digest) throws(ImageError) -> FileByteSource { try FileByteSource(path: path(of: digest)) }

  /// A blob in memory, at most `limit` bytes, its digest compared once more: a damaged disk must not decide what runs.
  public func read(_ digest: Digest, limit: Int) throws(ImageError) -> [UInt8] {
    let bytes = try open(digest).readAll(limit: limit)
    guard Digest.sha256(of: bytes) == digest else {
      throw ImageError(
        .corrupt, "blob \(digest) in the store does not have its digest", advice: "remove the image and import it again"
      )
    }
    return bytes
  }

  /// Puts a small blob in.
  ///
  /// - Throws: `corrupt` where the bytes do not have the digest.
  public func put(_ bytes: [UInt8], as digest: Digest) throws(ImageError) {
    if has(digest) { return }
    let writer = try BlobWriter(store: self, digest: digest, size: Int64(bytes.count))
    do throws(ImageError) {
      try writer.write(bytes)
      try writer.commit()
    } catch {
      writer.abandon()
      throw error
    }
  }

  /// Deletes a blob; one that is not there is no error.
  public func remove(_ digest: Digest) throws(ImageError) {
    let path = try path(of: digest)
    if unlink(path) != 0, errno != ENOENT { throw .system("remove", path) }
  }

  /// All blobs, in no order.
  public func list() throws(ImageError) -> [Digest] {
    try directoryEntries(blobs).compactMap { try? Digest(parsing: "sha256:\($0)") }
  }
}

/// The names in a directory, without `.` and `..`; none for a directory that is not there.
func directoryEntries(_ path: String) throws(ImageError) -> [String] {
  guard let directory = opendir(path) else {
    if errno == ENOENT { return [] }
    throw .system("list", path)
  }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    // `d_name` is a C array that ends with NUL within the record.
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names
}

/// Makes a directory and those above it, as mkdir -p does.
func makeDirectory(_ path: String) throws(ImageError) {
  if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
  guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
    throw .system("make the directory", path)
  }
  try makeDirectory(String(path[..<slash]))
  if mkdir(path, 0o755) != 0, errno != EEXIST { throw .system("make the directory", path) }
}

/// Brings a directory's names to stable storage.
func syncDirectory(_ path: String) throws(ImageError) {
  let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .system("open", path) }
  defer { close(descriptor) }
  if fsync(descriptor) != 0 { throw .system("sync", path) }
}
