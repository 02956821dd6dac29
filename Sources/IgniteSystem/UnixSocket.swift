internal import CIgniteSystem
internal import Glibc

/// Unix stream sockets by path; non-blocking and close-on-exec.
public enum UnixSocket {
  /// Bytes of a path that a socket's address takes (sun_path, less its NUL).
  public static let maximumPathLength = 107

  /// Binds and listens at `path`, mode 0600. A socket file left by a process that is gone is replaced by the caller,
  /// who holds the lock that says so.
  public static func listen(_ path: String, backlog: Int32 = 64) throws(SystemError) -> FileDescriptor {
    let socket = try make()
    let failure = try withAddress(path) { address, length in
      Glibc.bind(socket.number, address, length) == 0 ? 0 : errno
    }
    if failure != 0 { throw SystemError("bind \(path)", code: failure) }
    chmod(path, 0o600)
    try retrying("listen on \(path)") { Int(Glibc.listen(socket.number, backlog)) }
    return socket
  }

  /// Connects to the socket at `path`; a local connect ends at once or fails.
  public static func connect(_ path: String) throws(SystemError) -> FileDescriptor {
    let socket = try make()
    let failure = try withAddress(path) { address, length -> Int32 in
      while Glibc.connect(socket.number, address, length) != 0 {
        if errno != EINTR { return errno }
      }
      return 0
    }
    if failure != 0 { throw SystemError("connect to \(path)", code: failure) }
    return socket
  }

  /// Takes the next connection; nil where none waits.
  public static func accept(_ listener: Int32) -> FileDescriptor? {
    while true {
      let number = ignite_accept(listener)
      if number >= 0 { return FileDescriptor(number) }
      if errno != EINTR && errno != ECONNABORTED { return nil }
    }
  }

  /// The user id of the process at the other end, as it was when it connected (SO_PEERCRED).
  public static func peerUserID(_ socket: Int32) -> UInt32? {
    var id: UInt32 = 0
    return ignite_peer_uid(socket, &id) == 0 ? id : nil
  }

  /// Two connected sockets.
  public static func pair() throws(SystemError) -> (FileDescriptor, FileDescriptor) {
    var ends: [Int32] = [-1, -1]
    try retrying("socketpair") {
      Int(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends))
    }
    return (FileDescriptor(ends[0]), FileDescriptor(ends[1]))
  }

  private static func make() throws(SystemError) -> FileDescriptor {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    return FileDescriptor(Int32(try retrying("socket") { Int(socket(AF_UNIX, type, 0)) }))
  }

  private static func withAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws(SystemError) -> Int32 {
    let bytes = Array(path.utf8)
    guard bytes.count <= maximumPathLength else {
      throw SystemError("socket \(path)", code: ENAMETOOLONG, advice: "choose a shorter --run-dir")
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
