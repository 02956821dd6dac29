import Foundation
import Glibc
import IgniteSystem
import Logging
import Synchronization

@testable import IgniteServer

/// A directory of a test's own, removed with it.
final class Scratch: Sendable {
  let path: String

  init() throws {
    // Short, because the paths of sockets below it have 108 bytes.
    path = NSTemporaryDirectory() + "/s-" + String(UInt64.random(in: .min ... .max), radix: 36)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Log lines, as they were written.
final class Lines: Sendable {
  private let lines = Mutex<[String]>([])
  var all: [String] { lines.withLock { $0 } }

  func sink() -> LogSink {
    LogSink { bytes in self.lines.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) } }
  }
}

/// Waits for what a test is sure of; the suite's time limit ends a wait in vain.
func eventually(_ condition: @Sendable () async throws -> Bool) async throws {
  while try await !condition() {
    try Task.checkCancellation()
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// A service by a closure.
struct Worker: DaemonService {
  let name = "worker"
  let body: @Sendable (ServiceStatus) async throws -> Void

  func run(_ status: ServiceStatus) async throws { try await body(status) }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A client that speaks bytes.
final class RawClient: Sendable {
  private let socket: IgniteSystem.FileDescriptor

  init(_ path: String) throws {
    socket = try UnixSocket.connect(path)
    let flags = fcntl(socket.number, F_GETFL)
    _ = fcntl(socket.number, F_SETFL, flags & ~O_NONBLOCK)
  }

  /// False where the other side has closed.
  @discardableResult
  func send(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    return Glibc.send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
  }

  /// Sends as much as fits, without waiting.
  func sendWithoutWaiting(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
  }

  func finishSending() { shutdown(socket.number, Int32(SHUT_WR)) }

  /// Reads up to the connection's end, or to `text`.
  func read(until text: String? = nil) async -> String {
    await ThreadExecutor.run(name: "test-client") { [socket] in
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = Glibc.read(socket.number, &buffer, buffer.count)
        if count <= 0 { break }
        bytes += buffer[..<count]
        if let text, String(decoding: bytes, as: UTF8.self).contains(text) { break }
      }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  /// Whether the other side has closed, once it has.
  func awaitEnd() async { _ = await read() }
}
