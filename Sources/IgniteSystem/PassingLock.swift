internal import Glibc

/// A file lock whose file is there only while it is held.
public struct PassingLock: Sendable {
  private let path: String
  private let lock: FileLock

  /// nil where another holds it.
  public static func take(_ path: String) throws(SystemError) -> PassingLock? {
    while let lock = try FileLock.tryLock(path) {
      // Its last holder deletes the file: a lock on a deleted one is worth nothing.
      var here = stat()
      var there = stat()
      if fstat(lock.descriptor.number, &here) == 0, lstat(path, &there) == 0, here.st_ino == there.st_ino,
        here.st_dev == there.st_dev
      {
        return PassingLock(path: path, lock: lock)
      }
    }
    return nil
  }

  public var descriptor: FileDescriptor { lock.descriptor }

  public func release() {
    unlink(path)
    lock.unlock()
  }
}
