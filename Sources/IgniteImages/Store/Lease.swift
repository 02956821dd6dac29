internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// What a running import needs kept: a file of digests and disks beside the blobs under way, locked while the import
/// lives. A clean-up keeps all that living leases name.
struct Lease: Sendable {
  private let file: IngestFile

  /// Takes a lease. Blocking, for as long as a clean-up runs.
  static func take(_ store: ContentStore, blobs: Set<Digest>, disk: String) throws(ImageError) -> Lease {
    // Under the lock no clean-up sees the lease half-written, and none is between its looking and its deleting.
    let lock = try StoreLock.take(store, exclusive: false)
    defer { lock.release() }
    let file = try IngestFile(directory: store.ingest, kind: "lease")
    let text = (blobs.map { "blob \($0)\n" } + ["disk \(disk)\n"]).joined()
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(file.descriptor.number, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        let error = ImageError.system("write", file.path)
        file.remove()
        throw error
      }
      bytes = bytes.dropFirst(count)
    }
    return Lease(file: file)
  }

  func release() { file.remove() }

  /// What the living leases keep.
  static func collect(_ store: ContentStore) throws(ImageError) -> (blobs: Set<Digest>, disks: Set<String>) {
    var blobs: Set<Digest> = []
    var disks: Set<String> = []
    for name in try directoryEntries(store.ingest) {
      let path = "\(store.ingest)/\(name)"
      guard name.hasSuffix(".lease"), IngestFile.isHeld(path) else { continue }
      // Bounded by what an import can need: its layers, twice over for all that is beside them.
      guard let bytes = try? FileByteSource(path: path).readAll(limit: 1 << 20) else { continue }
      for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
        if line.hasPrefix("disk ") { disks.insert(String(line.dropFirst(5))) }
        if line.hasPrefix("blob "), let digest = try? Digest(parsing: line.dropFirst(5)) { blobs.insert(digest) }
      }
    }
    return (blobs, disks)
  }
}

/// The lock of the whole store, on its directory: held shared for the moment in which an import says what it needs,
/// exclusively by a clean-up.
struct StoreLock: Sendable {
  private let descriptor: FileDescriptor

  static func take(_ store: ContentStore, exclusive: Bool) throws(ImageError) -> StoreLock {
    let path = "\(store.root)/content"
    try makeDirectory(path)
    let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw .system("open", path) }
    let descriptor = FileDescriptor(number)
    while flock(number, exclusive ? LOCK_EX : LOCK_SH) != 0 {
      if errno != EINTR { throw .system("lock", path) }
    }
    return StoreLock(descriptor: descriptor)
  }

  func release() { descriptor.close() }
}

/// A lock by name on a file that exists only while somebody holds or wants it.
struct NamedLock: Sendable {
  let path: String
  private let descriptor: FileDescriptor

  /// Takes the lock, or returns nil where another holds it.
  static func tryTake(_ path: String) throws(ImageError) -> NamedLock? {
    while true {
      let number = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard number >= 0 else { throw .system("make", path) }
      let descriptor = FileDescriptor(number)
      if flock(number, LOCK_EX | LOCK_NB) != 0 {
        if errno == EWOULDBLOCK { return nil }
        if errno == EINTR { continue }
        throw .system("lock", path)
      }
      // Its last holder deletes the file: a lock on a deleted one is worth nothing.
      var here = stat()
      var there = stat()
      guard fstat(number, &here) == 0, lstat(path, &there) == 0, here.st_ino == there.st_ino else { continue }
      return NamedLock(path: path, descriptor: descriptor)
    }
  }

  func release() {
    unlink(path)
    descriptor.close()
  }
}
