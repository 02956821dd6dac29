internal import CIgniteSystem
internal import Glibc
internal import Synchronization

/// A file descriptor with one owner; closed when it is released, if not before.
public final class FileDescriptor: Sendable {
  private let state: Mutex<Int32>

  /// Takes over `number`.
  public init(_ number: Int32) { state = Mutex(number) }

  deinit { close() }

  /// The number; -1 once it is closed.
  public var number: Int32 { state.withLock { $0 } }

  public func close() {
    let number = state.withLock { number in
      defer { number = -1 }
      return number
    }
    if number >= 0 { _ = Glibc.close(number) }
  }

  /// Gives the number away; the object owns nothing afterwards.
  public func release() -> Int32 {
    state.withLock { number in
      defer { number = -1 }
      return number
    }
  }

  /// Opens a file, close-on-exec always.
  public static func open(_ path: String, _ flags: Int32, mode: UInt32 = 0o600) throws(SystemError) -> FileDescriptor {
    FileDescriptor(Int32(try retrying("open \(path)") { Int(Glibc.open(path, flags | O_CLOEXEC, mode)) }))
  }

  /// A pipe's two ends, close-on-exec.
  public static func pipe() throws(SystemError) -> (read: FileDescriptor, write: FileDescriptor) {
    var ends: [Int32] = [-1, -1]
    try retrying("pipe") { Int(ignite_pipe(&ends)) }
    return (FileDescriptor(ends[0]), FileDescriptor(ends[1]))
  }

  public func setNonBlocking() throws(SystemError) {
    let flags = try retrying("fcntl") { Int(fcntl(number, F_GETFL)) }
    try retrying("fcntl") { Int(fcntl(number, F_SETFL, Int32(flags) | O_NONBLOCK)) }
  }
}

/// A file's lock by flock(2), held until it is released or the process ends.
public struct FileLock: Sendable {
  /// The locked file; whoever inherits the descriptor holds the lock too.
  public let descriptor: FileDescriptor

  /// Takes the lock, or returns nil where another holds it.
  public static func tryLock(_ path: String, shared: Bool = false) throws(SystemError) -> FileLock? {
    let descriptor = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
    while flock(descriptor.number, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 {
      if errno == EWOULDBLOCK { return nil }
      if errno != EINTR { throw SystemError("lock \(path)") }
    }
    return FileLock(descriptor: descriptor)
  }

  /// Whether another holds the lock. A file that is not there is nobody's, and is not made.
  public static func isHeld(_ path: String) -> Bool {
    guard let descriptor = try? FileDescriptor.open(path, O_RDWR) else { return false }
    return flock(descriptor.number, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }

  /// Waits for the lock. Blocking.
  public static func lock(_ path: String, shared: Bool = false) throws(SystemError) -> FileLock {
    let descriptor = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
    try retrying("lock \(path)") { Int(flock(descriptor.number, shared ? LOCK_SH : LOCK_EX)) }
    return FileLock(descriptor: descriptor)
  }

  public func unlock() { descriptor.close() }
}
