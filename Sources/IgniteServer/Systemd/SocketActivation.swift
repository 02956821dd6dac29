internal import Glibc
public import IgniteSystem

/// A socket that the service manager made and listens at for us: sd_listen_fds(3).
public enum SocketActivation {
  /// The first descriptor that is passed.
  private static let first: Int32 = 3
  /// The most that are looked at.
  private static let most = 64

  /// The one listening Unix socket among those passed; the others are closed. nil where none were passed.
  ///
  /// Where they have names (`FileDescriptorName=`, in LISTEN_FDNAMES) `ignited.socket` and `http` come first.
  /// - Throws: SystemError where what was passed does not serve.
  public static func take(environment: [String: String]) throws(SystemError) -> FileDescriptor? {
    guard environment["LISTEN_PID"] == String(getpid()), let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }),
      count > 0, count <= most
    else { return nil }
    let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
    let passed = (0..<count).map { FileDescriptor(first + $0) }
    for descriptor in passed { _ = fcntl(descriptor.number, F_SETFD, FD_CLOEXEC) }
    let suitable = passed.enumerated().filter { isListening($0.element.number) }
    let named = suitable.first { place, _ in
      place < names.count && ["ignited.socket", "http"].contains(String(names[place]))
    }
    guard let chosen = named?.element ?? suitable.first?.element else {
      throw SystemError(
        "take the socket that the service manager passed", code: EINVAL,
        advice: "pass one Unix stream socket: ListenStream= with a path, Accept=no")
    }
    for descriptor in passed where descriptor !== chosen { descriptor.close() }
    try chosen.setNonBlocking()
    return chosen
  }

  private static func isListening(_ number: Int32) -> Bool {
    func option(_ name: Int32) -> Int32? {
      var value: Int32 = 0
      var length = socklen_t(MemoryLayout<Int32>.size)
      return getsockopt(number, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }
    return option(SO_ACCEPTCONN) == 1 && option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == Int32(SOCK_STREAM.rawValue)
  }
}
