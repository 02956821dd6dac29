internal import Glibc

/// Room beside the database that is held back for it: on a full disk it is given up, so that what is there can still be
/// looked up and removed. Blocking.
struct SpaceReserve: Sendable {
  let path: String

  /// Enough for the log of many small transactions, and for its index.
  private static let bytes: off_t = 256 << 10

  /// Takes the room, where it is not held already and there is some.
  func hold() {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    if posix_fallocate(descriptor, 0, Self.bytes) != 0 { unlink(path) }
    close(descriptor)
  }

  /// Gives it up; whether there was any.
  func release() -> Bool { unlink(path) == 0 }
}
