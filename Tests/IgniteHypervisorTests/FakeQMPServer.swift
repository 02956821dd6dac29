import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

/// A server that speaks QEMU's monitor protocol as a test tells it to.
actor FakeQMPServer {
  static let greeting =
    #"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}"#

  private let loop: EventLoop
  private let listener: FileDescriptor
  private let greeting: [UInt8]
  private let answer: @Sendable (_ command: String, _ id: Int64) -> [UInt8]?
  private var stream: LoopStream?
  private var reader = QMPLineReader()

  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

  /// - Parameter answer: bytes for a command; nil hangs up.
  init(
    _ path: String, loop: EventLoop, greeting: String = FakeQMPServer.greeting + "\r\n",
    answer: @escaping @Sendable (_ command: String, _ id: Int64) -> [UInt8]?
  ) async throws {
    self.loop = loop
    self.greeting = Array(greeting.utf8)
    self.answer = answer
    listener = try UnixSocket.listen(path)
    try begin()
  }

  private func begin() throws {
    try loop.watch(listener.number, for: .read) { [weak self] _ in self?.assumeIsolated { $0.accept() } }
  }

  private func accept() {
    guard let socket = UnixSocket.accept(listener.number) else { return }
    stream = try? LoopStream(loop: loop, descriptor: socket) { [weak self] event in
      guard case .bytes(let bytes) = event else { return }
      let copy = Array(bytes)
      self?.assumeIsolated { $0.receive(copy) }
    }
    stream?.send(greeting)
  }

  private func receive(_ bytes: [UInt8]) {
    for line in (try? reader.append(bytes)) ?? [] {
      guard let value = try? JSONValue.parse(line), let command = value["execute"]?.string,
        let id = value["id"]?.integer
      else { continue }
      guard command != "qmp_capabilities" else {
        stream?.send(Array(#"{"return": {}, "id": \#(id)}"#.utf8) + [13, 10])
        continue
      }
      if let reply = answer(command, id) {
        stream?.send(reply)
      } else {
        stream?.close()
      }
    }
  }
}
