import CIgniteSystem
import Glibc
import IgniteSystem

/// A web server on the host's loopback that gives one answer to everybody.
final class LoopbackServer: Sendable {
  let port: UInt16
  private let listener: FileDescriptor

  init(answer: String) throws {
    (listener, port) = try Self.listen()
    let number = listener.number
    let text = "HTTP/1.0 200 OK\r\nContent-Length: \(answer.utf8.count)\r\n\r\n\(answer)"
    Task {
      await ThreadExecutor.run(name: "test-server") {
        while true {
          let connection = accept(number, nil, nil)
          if connection < 0 { return }
          var buffer = [UInt8](repeating: 0, count: 4096)
          _ = read(connection, &buffer, buffer.count)
          _ = write(connection, text, text.utf8.count)
          close(connection)
        }
      }
    }
  }

  deinit { shutdown(listener.number, Int32(SHUT_RDWR)) }

  /// A port that nobody listens at now.
  static func freePort() throws -> UInt16 { try listen().1 }

  private static func listen() throws -> (FileDescriptor, UInt16) {
    let socket = FileDescriptor(
      Int32(
        try retrying("socket") {
          Int(Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
        }))
    var address = loopback(0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket.number, $0, length) == 0 && Glibc.listen(socket.number, 16) == 0
          && getsockname(socket.number, $0, &length) == 0
      }
    }
    guard bound else { throw SystemError("listen on loopback") }
    return (socket, UInt16(bigEndian: address.sin_port))
  }

  private static func loopback(_ port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  /// The answer to a GET, head and all; nil where nobody answers.
  static func get(port: UInt16, path: String) -> String? {
    let number = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let socket = FileDescriptor(number)
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = loopback(port)
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard connected else { return nil }
    let request = "GET \(path) HTTP/1.0\r\n\r\n"
    guard send(number, request, request.utf8.count, Int32(MSG_NOSIGNAL)) > 0 else { return nil }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = recv(number, &buffer, buffer.count, 0)
      if count <= 0 { break }
      bytes += buffer.prefix(count)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
