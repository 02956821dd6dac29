internal import Glibc
internal import IgniteSystem
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import Synchronization

/// HTTP/1.1 over a listening socket, on one thread. What a client does, or leaves undone, costs the others nothing.
final class HTTPServer: Sendable {
  typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>
  typealias Responder = @Sendable (Request) async -> Response

  /// A connection, and whether it is one of those that there may be.
  private struct Client: Sendable {
    var connection: Connection
    var isAdmitted: Bool
  }

  private struct State {
    var open: [ObjectIdentifier: any Channel] = [:]
    var isDraining = false
    var refused = 0
  }

  private let group: MultiThreadedEventLoopGroup
  private let listener: NIOAsyncChannel<Client, Never>
  private let limits: ConnectionLimits
  private let state: SharedState
  private let respond: Responder

  /// What the server and its connections' set-up share.
  private final class SharedState: Sendable {
    let value = Mutex(State())
  }

  private init(
    group: MultiThreadedEventLoopGroup, listener: NIOAsyncChannel<Client, Never>, limits: ConnectionLimits,
    state: SharedState, respond: @escaping Responder
  ) {
    self.group = group
    self.listener = listener
    self.limits = limits
    self.state = state
    self.respond = respond
  }

  /// Takes over a socket that listens already; connections are served once `run` is called.
  static func start(
    _ socket: IgniteSystem.FileDescriptor, limits: ConnectionLimits = ConnectionLimits(), respond: @escaping Responder
  ) async throws -> HTTPServer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let state = SharedState()
    do {
      let listener = try await ServerBootstrap(group: group)
        .serverChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptErrors()) }
        }
        // Who has said all may still want to hear the answer.
        .childChannelOption(.allowRemoteHalfClosure, value: true)
        .bind(socket.release()) { channel in
          channel.eventLoop.makeCompletedFuture { try setUp(channel, limits: limits, state: state) }
        }
      return HTTPServer(group: group, listener: listener, limits: limits, state: state, respond: respond)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private static func setUp(_ channel: any Channel, limits: ConnectionLimits, state: SharedState) throws -> Client {
    let isAdmitted = state.value.withLock { state in
      guard !state.isDraining, state.open.count < limits.connections else {
        state.refused += 1
        return false
      }
      state.open[ObjectIdentifier(channel)] = channel
      return true
    }
    let id = ObjectIdentifier(channel)
    channel.closeFuture.whenComplete { _ in _ = state.value.withLock { $0.open.removeValue(forKey: id) } }
    let size = RequestSizeBound(limit: limits.requestBytes)
    var decoder = NIOHTTPDecoderLimitConfiguration()
    decoder.maxHeaderFieldSize = limits.headerBytes / 2
    decoder.maxHeaderListSize = limits.headerBytes
    decoder.maxHeaderFieldCount = limits.headerFields
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandler(size)
    try pipeline.configureHTTPServerPipeline(
      withPipeliningAssistance: true, withServerUpgrade: nil, withErrorHandling: true,
      withOutboundHeaderValidation: true, withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoder)
    try pipeline.addHandler(ConnectionTimer(limits, size: size))
    return Client(connection: try Connection(wrappingChannelSynchronously: channel), isAdmitted: isAdmitted)
  }

  var openConnections: Int { state.value.withLock { $0.open.count } }
  /// Connections that were refused for their number.
  var refusedConnections: Int { state.value.withLock { $0.refused } }

  /// Serves until `shutDown`, or until the task is cancelled.
  func run() async throws {
    try await withThrowingDiscardingTaskGroup { group in
      try await listener.executeThenClose { clients in
        for try await client in clients {
          group.addTask { await self.serve(client) }
        }
      }
    }
  }

  /// Takes no more connections, has those that wait for a request closed, and gives the others so long to end.
  func shutDown(within limit: Duration) async {
    let open = state.value.withLock { state in
      state.isDraining = true
      return Array(state.open.values)
    }
    listener.channel.close(promise: nil)
    for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    let deadline = ContinuousClock.now + limit
    while state.value.withLock({ !$0.open.isEmpty }), ContinuousClock.now < deadline, !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(10))
    }
    for channel in state.value.withLock({ Array($0.open.values) }) { channel.close(promise: nil) }
  }

  /// Ends the thread; after `run` has returned.
  func end() async { try? await group.shutdownGracefully() }

  /// That the thread goes round.
  func isAlive() async { try? await listener.channel.eventLoop.submit {}.get() }

  private func serve(_ client: Client) async {
    let connection = client.connection
    // A client that is gone, or was closed for its slowness, is nobody's failure.
    try? await connection.executeThenClose { parts, _ in
      guard client.isAdmitted else { return }
      var head: HTTPRequestHead?
      var bodyBytes = 0
      for try await part in parts {
        switch part {
        case .head(let new):
          head = new
          bodyBytes = 0
        case .body(let bytes):
          bodyBytes += bytes.readableBytes
          guard bodyBytes <= limits.bodyBytes else {
            let message = "a request may have \(limits.bodyBytes) bytes"
            let tooLarge = Response.failure(413, reason: "RequestEntityTooLarge", message)
            return try await write(tooLarge, to: connection.channel, isHead: false, isLast: true)
          }
        case .end:
          guard let asked = head else { return }
          let response = await respond(Request(method: asked.method.rawValue, target: asked.uri))
          let isLast = !asked.isKeepAlive || state.value.withLock { $0.isDraining }
          try await write(response, to: connection.channel, isHead: asked.method == .HEAD, isLast: isLast)
          if isLast { return }
        }
      }
    }
  }

  /// Returns once the system has taken all of it.
  private func write(_ response: Response, to channel: any Channel, isHead: Bool, isLast: Bool) async throws {
    let body = ByteBuffer(string: response.body)
    var headers = HTTPHeaders(response.headers.map { ($0.name, $0.value) })
    headers.add(name: "Content-Type", value: response.contentType)
    headers.add(name: "Content-Length", value: String(body.readableBytes))
    headers.add(name: "Cache-Control", value: "no-store")
    headers.add(name: "X-Content-Type-Options", value: "nosniff")
    if isLast { headers.add(name: "Connection", value: "close") }
    let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: response.status), headers: headers)
    channel.write(HTTPServerResponsePart.head(head), promise: nil)
    if !isHead { channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil) }
    try await channel.writeAndFlush(HTTPServerResponsePart.end(nil)).get()
  }
}

/// A connection that could not be taken (no descriptors left, too many connections) does not end the listening.
private final class AcceptErrors: ChannelInboundHandler {
  typealias InboundIn = any Channel

  func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
