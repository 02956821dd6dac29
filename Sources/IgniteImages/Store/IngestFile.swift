internal import Glibc
internal import IgniteSystem

/// A file below `content/ingest` (or beside the disks) that lives as long as its process works on it.
///
/// It is held by flock(2), so that a file that nobody holds is known to be left over from a process that died.
final class IngestFile: Sendable {
  let path: String
  let descriptor: FileDescriptor

  /// Makes a new file with a name of its own in `directory`.
  ///
  /// - Parameter kind: the file name's end, `blob` or `lease`.
  init(directory: String, kind: String) throws(ImageError) {
    try makeDirectory(directory)
    while true {
      let path = "\(directory)/\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36)).\(kind)"
      let number = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      if number < 0 {
        if errno == EEXIST || errno == EINTR { continue }
        throw .system("make", path)
      }
      let descriptor = FileDescriptor(number)
      // Between these two calls a clean-up may take the lock and the file; then the next name is tried.
      guard flock(number, LOCK_EX | LOCK_NB) == 0, Self.isLinked(number) else {
        unlink(path)
        continue
      }
      self.path = path
      self.descriptor = descriptor
      return
    }
  }

  /// Deletes the file and gives up the lock; for one that was renamed, only the latter.
  func remove() {
    if descriptor.number >= 0 { unlink(path) }
    descriptor.close()
  }

  private static func isLinked(_ number: Int32) -> Bool {
    var status = stat()
    return fstat(number, &status) == 0 && status.st_nlink > 0
  }

  /// Whether the file is held by a process that lives; a file that is not there is not.
  static func isHeld(_ path: String) -> Bool {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0 else { return false }
    defer { close(number) }
    return flock(number, LOCK_EX | LOCK_NB) != 0
  }

  /// Deletes a file that nobody holds; true when it did.
  @discardableResult
  static func removeIfStale(_ path: String) -> Bool {
    let number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard number >= 0 else { return false }
    defer { close(number) }
    // The name is deleted while the lock is held, so its maker, who looks at the link count after locking, knows.
    return flock(number, LOCK_EX | LOCK_NB) == 0 && unlink(path) == 0
  }
}
