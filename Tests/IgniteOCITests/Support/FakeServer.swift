import Foundation
import Glibc
import Synchronization

/// A small HTTP server on loopback that answers whatever a test wants, wrong answers above all.
final class FakeServer: Sendable {
  struct Request: Sendable {
    var method: String
    /// Path and query.
    var target: String
    /// By lower-case name.
    var headers: [String: String]
    /// As long as its Content-Length says.
    var body: [UInt8] = []
  }

  /// What a test sends to a client; blocking.
  struct Connection: Sendable {
    fileprivate let descriptor: Int32

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        rest = rest.dropFirst(count)
      }
    }

    /// A whole answer.
    func answer(_ status: Int, _ headers: [String: String] = [:], _ body: [UInt8] = []) {
      var head = "HTTP/1.1 \(status) Fake\r\n"
      for (name, value) in headers { head += "\(name): \(value)\r\n" }
      if headers["Content-Length"] == nil { head += "Content-Length: \(body.count)\r\n" }
      send(head + "\r\n")
      send(body)
    }

    func answer(_ status: Int, _ headers: [String: String] = [:], _ body: String) {
      answer(status, headers, Array(body.utf8))
    }

    /// Says nothing until the client hangs up.
    func stall() {
      var byte: UInt8 = 0
      while recv(descriptor, &byte, 1, 0) > 0 {}
    }

    /// Whether the client has hung up; waits so many milliseconds for it.
    func isGone(after milliseconds: Int32) -> Bool {
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      return poll(&wait, 1, milliseconds) != 0
    }

    func hangUp() { shutdown(descriptor, Int32(SHUT_RDWR)) }
  }

  let port: Int
  private let listener: Int32
  private let state = Mutex<(requests: [Request], clients: Set<Int32>)>(([], []))
  private let handler: @Sendable (Request, Connection) -> Void

  init(_ handler: @escaping @Sendable (Request, Connection) -> Void) throws {
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    self.handler = handler
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = listener
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        Glibc.bind(descriptor, pointer, length) == 0 && listen(descriptor, 64) == 0
          && getsockname(descriptor, pointer, &length) == 0
      }
    }
    port = Int(UInt16(bigEndian: address.sin_port))
    guard bound else { throw TestToolFailure(description: "no port for a fake server") }
    // Threads of its own: a server must not wait for the tests that wait for it.
    Thread.detachNewThread { [self] in accept() }
  }

  /// `127.0.0.1:port`.
  var authority: String { "127.0.0.1:\(port)" }

  /// All requests so far, in the order of their coming.
  var requests: [Request] { state.withLock { $0.requests } }

  func stop() {
    shutdown(listener, Int32(SHUT_RDWR))
    state.withLock { state in
      for client in state.clients { shutdown(client, Int32(SHUT_RDWR)) }
    }
  }

  private func accept() {
    while true {
      let client = Glibc.accept(listener, nil, nil)
      if client < 0 && errno == EINTR { continue }
      guard client >= 0 else { break }
      state.withLock { _ = $0.clients.insert(client) }
      Thread.detachNewThread { [self] in
        serve(client)
        state.withLock { _ = $0.clients.remove(client) }
        close(client)
      }
    }
    close(listener)
  }

  private func serve(_ client: Int32) {
    var pending: [UInt8] = []
    while true {
      while pending.range(of: "\r\n\r\n") == nil {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(client, &buffer, buffer.count, 0)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        pending += buffer[..<count]
      }
      guard let end = pending.range(of: "\r\n\r\n") else { return }
      let lines = String(decoding: pending[..<end], as: UTF8.self).components(separatedBy: "\r\n")
      pending.removeFirst(end + 4)
      let words = lines[0].split(separator: " ")
      guard words.count == 3 else { return }
      var request = Request(method: String(words[0]), target: String(words[1]), headers: [:])
      for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else { continue }
        request.headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
          in: .whitespaces)
      }
      let length = request.headers["content-length"].flatMap { Int($0) } ?? 0
      while pending.count < length {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(client, &buffer, buffer.count, 0)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return }
        pending += buffer[..<count]
      }
      request.body = Array(pending.prefix(length))
      pending.removeFirst(length)
      state.withLock { $0.requests.append(request) }
      handler(request, Connection(descriptor: client))
    }
  }
}

extension [UInt8] {
  fileprivate func range(of text: String) -> Int? {
    let wanted = Array(text.utf8)
    guard count >= wanted.count else { return nil }
    return (0...(count - wanted.count)).first { self[$0..<$0 + wanted.count].elementsEqual(wanted) }
  }
}
