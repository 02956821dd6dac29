import IgniteSystem
import NIOCore
import Testing

@testable import IgniteServer

/// The HTTP server, and clients that do not behave.
@Suite(.timeLimit(.minutes(3))) struct HTTPServers {
  private static func with(
    _ limits: ConnectionLimits = ConnectionLimits(),
    _ respond: @escaping HTTPServer.Responder = { .text(200, $0.path) },
    _ body: (HTTPServer, String) async throws -> Void
  ) async throws {
    let scratch = try Scratch()
    let path = scratch.path + "/s"
    let server = try await HTTPServer.start(try UnixSocket.listen(path), limits: limits, respond: respond)
    try await withThrowingTaskGroup { group in
      group.addTask { try await server.run() }
      do {
        try await body(server, path)
      } catch {
        group.cancelAll()
        throw error
      }
      await server.shutDown(within: .seconds(1))
    }
    await server.end()
  }

  @Test func requestsOfOneConnection() async throws {
    try await Self.with { _, path in
      let client = try RawClient(path)
      client.send("GET /one?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
      let first = await client.read(until: "/one")
      #expect(first.hasPrefix("HTTP/1.1 200 OK\r\n") && first.contains("Content-Length: 4\r\n"))
      // Two at once, and half of a third.
      client.send("GET /two HTTP/1.1\r\n\r\nGET /three HTTP/1.1\r\n\r\nGET /fo")
      #expect(await client.read(until: "/three").contains("/two"))
      client.send("ur HTTP/1.1\r\nConnection: close\r\n\r\n")
      let last = await client.read()
      #expect(last.hasSuffix("/four") && last.contains("Connection: close\r\n"))
    }
  }

  @Test func whoHasSaidAllIsAnswered() async throws {
    try await Self.with { _, path in
      let client = try RawClient(path)
      client.send("GET /bye HTTP/1.1\r\n\r\n")
      client.finishSending()
      #expect(await client.read().hasSuffix("/bye"))
    }
  }

  @Test func aHeadHasNoBody() async throws {
    try await Self.with { _, path in
      let client = try RawClient(path)
      client.send("HEAD /long HTTP/1.1\r\nConnection: close\r\n\r\n")
      let answer = await client.read()
      #expect(answer.contains("Content-Length: 5\r\n") && answer.hasSuffix("\r\n\r\n"))
    }
  }

  @Test(arguments: [
    "\u{1}\u{2}\u{3}garbage\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n",
    "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "GET / HTTP/1.1\r\nX: \(String(repeating: "x", count: 40 << 10))\r\n\r\n",
    "GET / HTTP/1.1\r\n\(String(repeating: "A: b\r\n", count: 500))\r\n",
  ])
  func whatIsNoRequestIsToldAndClosed(_ bytes: String) async throws {
    try await Self.with { _, path in
      let client = try RawClient(path)
      client.send(bytes)
      let answer = await client.read()
      #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400 ") || answer.hasPrefix("HTTP/1.1 431 "), "\(answer)")
      let next = try RawClient(path)
      next.send("GET /well HTTP/1.0\r\n\r\n")
      #expect(await next.read().hasSuffix("/well"))
    }
  }

  @Test func aRequestWithoutEndIsClosed() async throws {
    var limits = ConnectionLimits()
    limits.requestBytes = 100 << 10
    try await Self.with(limits) { _, path in
      let client = try RawClient(path)
      client.send("GET /")
      // As a path of any length, or as a body.
      while client.send(String(repeating: "x", count: 4096)) {}
      let poster = try RawClient(path)
      poster.send("POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
      while poster.send(String(repeating: "x", count: 4096)) {}
      let next = try RawClient(path)
      next.send("GET /well HTTP/1.0\r\n\r\n")
      #expect(await next.read().hasSuffix("/well"))
    }
  }

  @Test func whoSendsNothingOrHalfIsClosedInTime() async throws {
    var limits = ConnectionLimits()
    limits.requestTime = .milliseconds(50)
    try await Self.with(limits) { _, path in
      let silent = try RawClient(path)
      let half = try RawClient(path)
      half.send("GET / HTT")
      let idle = try RawClient(path)
      idle.send("GET /once HTTP/1.1\r\n\r\n")
      await silent.awaitEnd()
      await half.awaitEnd()
      // On a busy machine its request may come too late, too.
      let answer = await idle.read()
      #expect(answer.isEmpty || answer.hasSuffix("/once"))
    }
  }

  private static let much = String(repeating: "y", count: 4 << 20)

  @Test func whoNeverReadsHoldsUpNobody() async throws {
    let much = Self.much
    try await Self.with(ConnectionLimits(), { $0.path == "/much" ? .text(200, much) : .text(200, $0.path) }) {
      server, path in
      let deaf = try RawClient(path)
      deaf.send("GET /much HTTP/1.1\r\n\r\n")
      for _ in 0..<10 {
        let other = try RawClient(path)
        other.send("GET /well HTTP/1.0\r\n\r\n")
        #expect(await other.read().hasSuffix("/well"))
      }
      #expect(server.openConnections >= 1)
      // At the end it is closed: what it reads now ends early.
      await server.shutDown(within: .milliseconds(1))
      #expect(await deaf.read().utf8.count < much.utf8.count)
    }
  }

  @Test func whoNeverReadsIsClosedInTime() async throws {
    var limits = ConnectionLimits()
    limits.answerTime = .milliseconds(100)
    let much = Self.much
    try await Self.with(limits, { _ in .text(200, much) }) { server, path in
      let deaf = try RawClient(path)
      try await eventually { server.openConnections == 1 }
      deaf.send("GET /much HTTP/1.1\r\n\r\n")
      try await eventually { server.openConnections == 0 }
      #expect(await deaf.read().utf8.count < much.utf8.count)
    }
  }

  @Test func moreConnectionsThanThereMayBeAreClosed() async throws {
    var limits = ConnectionLimits()
    limits.connections = 3
    try await Self.with(limits) { server, path in
      let few = try (0..<3).map { _ in try RawClient(path) }
      try await eventually { server.openConnections == 3 }
      await (try RawClient(path)).awaitEnd()
      #expect(server.refusedConnections == 1)
      few[0].send("GET /well HTTP/1.0\r\n\r\n")
      #expect(await few[0].read().hasSuffix("/well"))
      // Its place is free again.
      try await eventually { server.openConnections == 2 }
      let next = try RawClient(path)
      next.send("GET /next HTTP/1.0\r\n\r\n")
      #expect(await next.read().hasSuffix("/next"))
    }
  }

  @Test func whatIsOpenAtTheEndIsAnswered() async throws {
    let (gate, opened) = AsyncStream<Void>.makeStream()
    let (arrivals, arrived) = AsyncStream<Void>.makeStream()
    let scratch = try Scratch()
    let path = scratch.path + "/s"
    let server = try await HTTPServer.start(try UnixSocket.listen(path)) { request in
      arrived.yield()
      for await _ in gate { break }
      return .text(200, request.path)
    }
    try await withThrowingTaskGroup { group in
      group.addTask { try await server.run() }
      let idle = try RawClient(path)
      let client = try RawClient(path)
      client.send("GET /late HTTP/1.1\r\n\r\n")
      for await _ in arrivals { break }
      group.addTask { await server.shutDown(within: .seconds(60)) }
      await idle.awaitEnd()
      opened.yield()
      #expect(await client.read().hasSuffix("/late"))
      try await group.waitForAll()
    }
    await server.end()
    #expect(throws: SystemError.self) { try UnixSocket.connect(path) }
  }
}

@Suite struct EndpointAnswers {
  private static func answer(
    _ method: String, _ target: String, _ board: HealthBoard = HealthBoard(), failure: String? = nil
  ) async -> Response {
    await Endpoints(board: board) {
      failure
    } metrics: {
      "m 1\n"
    }.respond(to: Request(method: method, target: target))
  }

  @Test func health() async throws {
    let board = HealthBoard()
    board.add("one")
    #expect(await Self.answer("GET", "/livez", board) == .text(200, "ok"))
    let waiting = await Self.answer("GET", "/readyz", board)
    #expect(waiting.status == 503 && waiting.body.contains("[-]service/one failed: it has not come up yet\n"))
    board.report("one", .ready)
    #expect(await Self.answer("GET", "/readyz", board) == .text(200, "ok"))
    #expect(
      await Self.answer("GET", "/healthz?verbose", board)
        == .text(200, "[+]ping ok\n[+]store ok\n[+]service/one ok\nhealthz check passed\n"))
    board.report("one", .unhealthy("no\nway"))
    let sick = await Self.answer("GET", "/healthz", board)
    #expect(sick.status == 500 && sick.body.contains("[-]service/one failed: no way\n"))
    board.failed("one", "gone")
    #expect(await Self.answer("GET", "/healthz", board).body.contains("gone (failed 1 times)"))
    board.report("one", .ready)
    #expect(await Self.answer("GET", "/readyz", board, failure: "disk").status == 503)
    board.beginShutdown()
    #expect(await Self.answer("GET", "/readyz", board).body.contains("[-]shutdown failed"))
    #expect(await Self.answer("GET", "/livez", board) == .text(200, "ok"))
  }

  @Test func others() async throws {
    let nothing = await Self.answer("GET", "/a\"b")
    #expect(nothing.status == 404 && nothing.contentType == "application/json")
    #expect(nothing.body.contains(#""message":"nothing is served at /a\"b""#))
    let refused = await Self.answer("POST", "/metrics")
    #expect(refused.status == 405 && refused.headers.contains { $0 == ("Allow", "GET, HEAD") })
    #expect(await Self.answer("GET", "/metrics").contentType == "text/plain; version=0.0.4; charset=utf-8")
  }
}
