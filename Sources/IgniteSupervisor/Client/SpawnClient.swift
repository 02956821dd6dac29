public import IgniteSystem
public import IgniteWire

/// A command's end of `spawn.sock`: one connection, any number of streams on it.
public actor SpawnClient {
  let loop: EventLoop
  private var connection: FrameConnection?
  private var lastStream: UInt32 = 0
  private var answers: [UInt32: CheckedContinuation<Response, any Error>] = [:]
  private var sessions: [UInt32: ProcessSession] = [:]
  private var closedReason: String?
  private var closeWaiters: [CheckedContinuation<Void, Never>] = []

  public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

  /// - Throws: SystemError where nobody listens at `path`.
  public static func connect(path: String, loop: EventLoop) async throws -> SpawnClient {
    let client = SpawnClient(loop: loop)
    try await client.open(path)
    return client
  }

  private init(loop: EventLoop) { self.loop = loop }

  private func open(_ path: String) throws {
    let socket = try UnixSocket.connect(path)
    connection = try FrameConnection(loop: loop, descriptor: socket, role: .client(session: .random(in: 1 ... .max))) {
      [weak self] event in self?.assumeIsolated { $0.handle(event) }
    }
  }

  // MARK: Requests

  /// Ends the VM; returns when it has ended.
  public func stop(signal: Int32 = 0, grace: Duration) async throws {
    let milliseconds = grace.components.seconds * 1000 + grace.components.attoseconds / 1_000_000_000_000_000
    let request = StopRequest(signal: UInt64(signal), grace: UInt64(max(0, milliseconds)))
    do {
      try check(await ask(request.encoded(.stop)))
    } catch let error as SupervisorGone where error.reason == nil {
      // It has ended, which is what was asked for.
    }
  }

  public func kill(signal: Int32) async throws {
    try check(await ask(StopRequest(signal: UInt64(signal)).encoded(.kill)))
  }

  /// Has the supervisor go by another restart policy; an empty one is none.
  public func update(restartPolicy: String, limit: Int) async throws {
    try check(
      await ask(UpdateRequest(restartPolicy: restartPolicy, restartLimit: UInt64(max(0, limit))).encoded()))
  }

  /// Halts the machine; returns when it stands still.
  public func pause() async throws { try check(await ask(emptyRequest(.pause))) }

  /// Lets a halted machine go on; returns when its clock is right.
  /// - Returns: why the clock is not right; nil when it is.
  public func unpause() async throws -> String? {
    let response = try await ask(emptyRequest(.unpause))
    try check(response)
    return response.text.isEmpty ? nil : response.text
  }

  /// Joins the main process's streams. The session's end is the process's.
  public func attach(_ streams: ProcessStreams) throws -> ProcessSession {
    var request = AttachRequest()
    request.input = streams.input != nil
    return try startSession(request.encoded(), streams, isMain: true)
  }

  /// Starts one more process in the VM.
  public func exec(_ request: ProcessRequest, _ streams: ProcessStreams) throws -> ProcessSession {
    try startSession(request.encoded(), streams, isMain: false)
  }

  /// Starts one more process in the VM, whose output nobody wants, and which goes on when the client has gone.
  public func launch(_ request: ProcessRequest) async throws {
    var request = request
    request.isDetached = true
    try check(await ask(request.encoded()))
  }

  /// Asks the guest for work that has streams and an end as a process has: copying files, listing processes.
  public func work(_ request: [UInt8], _ streams: ProcessStreams) throws -> ProcessSession {
    try startSession(request, streams, isMain: false)
  }

  /// Returns once the supervisor has closed the connection.
  public func closed() async {
    if connection == nil { return }
    await withCheckedContinuation { closeWaiters.append($0) }
  }

  public func close() {
    connection?.close()
    if connection != nil { ended(nil) }
  }

  // MARK: Private

  private func startSession(_ payload: [UInt8], _ streams: ProcessStreams, isMain: Bool) throws -> ProcessSession {
    guard let connection else { throw SupervisorGone(reason: closedReason) }
    lastStream += 1
    let session = ProcessSession(
      stream: lastStream, connection: connection, loop: loop, streams: streams, isMain: isMain)
    sessions[lastStream] = session
    connection.send(Frame(.request, stream: lastStream, payload: payload))
    return session
  }

  private func ask(_ request: [UInt8]) async throws -> Response {
    let payload = RequestID.signed(request)
    guard let connection else { throw SupervisorGone(reason: closedReason) }
    lastStream += 1
    let stream = lastStream
    return try await withCheckedThrowingContinuation { continuation in
      answers[stream] = continuation
      connection.send(Frame(.request, stream: stream, payload: payload))
    }
  }

  private func check(_ response: Response) throws {
    if response.code != 0 {
      throw SupervisorError(response.text, exitCode: Int32(clamping: min(response.code, 127)))
    }
  }

  private func handle(_ event: FrameConnection.Event) {
    switch event {
    case .opened, .drained: break
    case .frame(let frame):
      if let session = sessions[frame.stream] {
        session.receive(frame)
      } else if frame.type == .response, let waiting = answers.removeValue(forKey: frame.stream) {
        do throws(MessageError) {
          waiting.resume(returning: try Response(decoding: frame.payload))
        } catch {
          waiting.resume(throwing: SupervisorError("the supervisor's answer makes no sense"))
        }
      }
    case .closed(let reason): ended(reason)
    }
  }

  private func ended(_ reason: String?) {
    connection = nil
    closedReason = reason
    for waiting in answers.values { waiting.resume(throwing: SupervisorGone(reason: reason)) }
    answers = [:]
    for session in sessions.values { session.connectionClosed(reason) }
    sessions = [:]
    for waiter in closeWaiters { waiter.resume() }
    closeWaiters = []
  }
}

/// The supervisor closed the connection before it answered.
public struct SupervisorGone: UserFacingError {
  let reason: String?
  public var message: String { "the VM's supervisor is gone" + (reason.map { " (\($0))" } ?? "") }
  public var advice: String? { "look with `ignite ps -a` at what became of the VM" }
}
