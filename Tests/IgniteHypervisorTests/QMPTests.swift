import IgniteSystem
import Synchronization
import Testing

@testable import IgniteHypervisor

@Suite struct QMPTests {
  let scratch = HypervisorScratch()

  /// Runs `body` with a client that is connected to a fake server.
  private func withClient(
    greeting: String = FakeQMPServer.greeting + "\r\n",
    answer: @escaping @Sendable (String, Int64) -> [UInt8]?,
    events: @escaping @Sendable (QMPMessage?) -> Void = { _ in },
    _ body: (QMPClient) async throws -> Void
  ) async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let path = "\(scratch.path)/qmp.sock"
    let server = try await FakeQMPServer(path, loop: loop, greeting: greeting, answer: answer)
    let client = QMPClient(loop: loop, events: events)
    #expect(try await client.connect(path) == "7.2.22")
    try await body(client)
    await client.close()
    withExtendedLifetime(server) {}
  }

  private static func reply(_ id: Int64, _ value: String) -> [UInt8] {
    Array("{\"return\": \(value), \"id\": \(id)}\r\n".utf8)
  }

  @Test func answersFindTheirCommandsInAnyOrder() async throws {
    let first = Mutex<Int64?>(nil)
    try await withClient(answer: { command, id in
      if command == "slow" {
        first.withLock { $0 = id }
        return []
      }
      let slow = first.withLock { $0 } ?? 0
      return Self.reply(id, #"{"n": 2}"#) + Self.reply(99_999, "{}") + Self.reply(slow, #"{"n": 1}"#)
    }) { client in
      async let slow = client.execute("slow")
      while first.withLock({ $0 == nil }) { await Task.yield() }
      let answers = (try await client.execute("fast"), try await slow)
      #expect(answers.0["n"] == .integer(2))
      #expect(answers.1["n"] == .integer(1))
    }
  }

  @Test func aRefusalIsAnError() async throws {
    try await withClient(answer: { command, id in
      let kind = command == "odd" ? "CommandNotFound" : "GenericError"
      return Array(#"{"error": {"class": "\#(kind)", "desc": "because"}, "id": \#(id)}"#.utf8) + [10]
    }) { client in
      let error = await #expect(throws: HypervisorError.self) { try await client.execute("stop") }
      #expect(error?.code == .protocolError)
      #expect(error?.message == "QEMU refused stop: because")
      let odd = await #expect(throws: HypervisorError.self) { try await client.execute("odd") }
      #expect(odd?.code == .unsupported)
    }
  }

  @Test func eventsArriveBetweenAnswers() async throws {
    let events = Mutex<[QMPMessage?]>([])
    let event = #"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": 1}}"#
    try await withClient(
      answer: { _, id in Array((event + "\n").utf8) + Self.reply(id, "true") },
      events: { event in events.withLock { $0.append(event) } }
    ) { client in
      let answer = try await client.execute("x")
      #expect(answer == .bool(true))
    }
    let seen = events.withLock { $0 }
    #expect(seen.count == 2)
    #expect(
      seen.first
        == .some(.event(name: "SHUTDOWN", data: .object(["guest": .bool(true), "reason": .string("guest-reset")]))))
    #expect(seen.last == .some(nil))
  }

  @Test(arguments: ["not json\n", "[]\n", "{}\n", "{\"return\": 1}\n", "\u{0}\u{0}\n", "{\"error\": {}}\n", "3\n"])
  func nonsenseEndsTheConnection(_ line: String) async throws {
    try await withClient(answer: { _, _ in Array(line.utf8) }) { client in
      let error = await #expect(throws: HypervisorError.self) { try await client.execute("x") }
      #expect(error?.code == .protocolError)
      await #expect(throws: HypervisorError.self) { try await client.execute("y") }
    }
  }

  @Test func aLineWithoutEndEndsTheConnection() async throws {
    try await withClient(answer: { _, _ in [UInt8](repeating: 0x20, count: QMPLineReader.maximumLine + 1) }) { client in
      let error = await #expect(throws: HypervisorError.self) { try await client.execute("x") }
      #expect(error?.message == "QEMU's monitor sent a line of more than 1048576 bytes")
    }
  }

  @Test func aDeepValueIsRefusedWithoutACrash() {
    let deep = Array((String(repeating: "[", count: 100_000)).utf8)
    #expect(throws: HypervisorError.self) { try QMPMessage(line: Array(#"{"return":"#.utf8) + deep) }
  }

  @Test func aHangUpFailsWhatIsUnderWay() async throws {
    try await withClient(answer: { _, _ in nil }) { client in
      let error = await #expect(throws: HypervisorError.self) { try await client.execute("quit") }
      #expect(error?.code == .gone)
    }
  }

  @Test func silenceIsATimeout() async throws {
    try await withClient(answer: { _, _ in [] }) { client in
      let error = await #expect(throws: HypervisorError.self) {
        try await client.execute("x", timeout: .milliseconds(20))
      }
      #expect(error?.code == .timeout)
    }
  }

  @Test func aServerThatIsNotThere() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let client = QMPClient(loop: loop) { _ in }
    let error = await #expect(throws: HypervisorError.self) { try await client.connect("\(scratch.path)/none.sock") }
    #expect(error?.code == .gone)
  }

  @Test func anyBytesAreReadOrRefused() throws {
    var random = SystemRandomNumberGenerator()
    let line = Array(FakeQMPServer.greeting.utf8)
    for _ in 0..<3000 {
      var mutant = line
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        mutant[Int.random(in: 0..<mutant.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      // Neither outcome is wrong; a trap would be.
      _ = try? QMPMessage(line: mutant)
      var reader = QMPLineReader()
      let lines = try reader.append(mutant) + reader.append([10])
      #expect(lines.allSatisfy { !$0.contains(10) && !$0.isEmpty })
    }
  }

  @Test func linesAreCutWhereverThePiecesAre() throws {
    let bytes = Array("one\r\n\r\ntwo\nthree".utf8)
    for cut in 0...bytes.count {
      var reader = QMPLineReader()
      let lines = try reader.append(Array(bytes[..<cut])) + reader.append(Array(bytes[cut...]))
      #expect(lines.map { String(decoding: $0, as: UTF8.self) } == ["one", "two"])
    }
  }
}
