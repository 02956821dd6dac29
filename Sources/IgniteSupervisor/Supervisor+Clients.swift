internal import FoundationEssentials
internal import Glibc
internal import IgniteHypervisor
internal import IgniteSystem
internal import IgniteWire

/// A command at `spawn.sock`.
struct Client {
  /// Joined to the main process's streams.
  struct Attached {
    var stream: UInt32
    var input: Bool
    /// Bytes that the client can take, a channel each (output, errors).
    var credit: [UInt8: Int] = [
      Channel.standardOutput.rawValue: Wire.initialCredit, Channel.standardError.rawValue: Wire.initialCredit,
    ]
    /// Output and ends that wait for credit, in order.
    var waiting: [Pending] = []
  }

  enum Pending {
    case chunk(OutputChunk)
    case frame(Frame)
  }

  var connection: FrameConnection
  var attached: Attached?
  /// The agent's stream for each of the client's.
  var streams: [UInt32: UInt32] = [:]
  /// Closed once it has what waits for it.
  var finishing = false
  /// The stream on which the client waits for the VM's end.
  var stopStream: UInt32?
}

extension Supervisor {
  private static let maximumClients = 128

  func acceptClients() {
    while let listener = listenerNumber, let socket = UnixSocket.accept(listener) {
      guard clients.count < Self.maximumClients else { continue }
      lastClient += 1
      let id = lastClient
      let connection = try? FrameConnection(loop: loop, descriptor: socket, role: .server) { [weak self] event in
        self?.assumeIsolated { $0.handleClient(id, event) }
      }
      if let connection { clients[id] = Client(connection: connection) }
    }
  }

  private func handleClient(_ id: UInt64, _ event: FrameConnection.Event) {
    switch event {
    case .opened, .drained: break
    case .frame(let frame): handle(frame, from: id)
    case .closed: clientGone(id)
    }
  }

  private func handle(_ frame: Frame, from id: UInt64) {
    guard let client = clients[id] else { return }
    guard agentTakesMore else { return drop(id) }
    if frame.type == .request { return handleRequest(frame, from: id) }
    if let attached = client.attached, attached.stream == frame.stream {
      return handleAttached(frame, from: id)
    }
    guard let stream = client.streams[frame.stream] else { return }
    if frame.type == .data {
      // The guest's credit is the client's; who sends beyond it would fill our memory.
      let left = (routes[stream]?.inputCredit ?? 0) - frame.payload.count
      guard left >= 0 else { return drop(id) }
      routes[stream]?.inputCredit = left
    }
    var passed = frame
    passed.stream = stream
    agent?.send(passed)
    if frame.type == .acknowledge || frame.type == .close {
      clients[id]?.streams[frame.stream] = nil
      if frame.type == .acknowledge { routes[stream] = nil } else { routes[stream]?.client = nil }
    }
  }

  private func handleRequest(_ frame: Frame, from id: UInt64) {
    let answer: (Response) -> Void = { [self] response in
      clients[id]?.connection.send(Frame(.response, stream: frame.stream, payload: response.encoded()))
    }
    do {
      switch try requestKind(of: frame.payload) {
      case .attach:
        let request = try AttachRequest(decoding: frame.payload)
        clients[id]?.attached = Client.Attached(stream: frame.stream, input: request.input)
        // Answered when the process runs: input that came before would find nobody.
        if phase == .running { answer(Response()) } else { clientJoined() }
      case .start:
        var request = try ProcessRequest(decoding: frame.payload)
        request.isMain = false
        request.machine = false
        let isDetached = request.isDetached
        request.isDetached = false
        let route = Route(client: id, stream: frame.stream, isProcess: true, isDetached: isDetached)
        passToGuest(request.encoded(), route, answer)
      case .copyOut, .copyIn, .processes, .statistics, .changes:
        passToGuest(frame.payload, Route(client: id, stream: frame.stream), answer)
      case .stop:
        clients[id]?.stopStream = frame.stream
        stopEvenPaused(
          try StopRequest(decoding: frame.payload), for: try RequestID(asking: frame.payload))
      case .kill:
        let request = try StopRequest(decoding: frame.payload)
        guard phase == .running, main.exit == nil else {
          return answer(Response(code: 125, text: "the VM is \(phase.rawValue)"))
        }
        if pause.isWanted {
          guard request.signal == UInt64(SIGKILL) else {
            return answer(Response(code: 125, text: "the VM is paused, and takes no signal but KILL; unpause it first"))
          }
          continueForTheEnd()
        }
        // Who asks for the end does not ask for another start.
        if request.signal == UInt64(SIGKILL) || Int32(truncatingIfNeeded: request.signal) == plan.stopSignal {
          main.stopping = true
          main.endedBy = try main.endedBy ?? RequestID(asking: frame.payload)
        }
        if request.signal == UInt64(SIGKILL) { main.killed = true }
        agent?.send(.signal(stream: Self.mainStream, number: Int32(truncatingIfNeeded: request.signal)))
        answer(Response())
      case .status: answer(Response(text: pause.isWanted ? "paused" : phase.rawValue))
      case .pause: pauseMachine(for: try RequestID(asking: frame.payload), answer)
      case .unpause: unpauseMachine(for: try RequestID(asking: frame.payload), answer)
      case .update:
        let request = try UpdateRequest(decoding: frame.payload)
        plan.restart =
          request.restartPolicy.isEmpty
          ? nil : SpawnPlan.Restart(policy: request.restartPolicy, limit: Int(clamping: request.restartLimit))
        answer(Response())
      default: answer(Response(code: 125, text: "this supervisor does not know the request; it is of an older version"))
      }
    } catch {
      answer(Response(code: 125, text: "the request makes no sense"))
    }
  }

  private func passToGuest(_ request: [UInt8], _ route: Route, _ answer: (Response) -> Void) {
    guard phase == .running, main.exit == nil, agent != nil else {
      return answer(Response(code: 125, text: "the VM is \(phase.rawValue), not running"))
    }
    if pause.isWanted { return answer(Response(code: 125, text: "the VM is paused; unpause it first")) }
    lastAgentStream += 1
    let stream = lastAgentStream
    if let id = route.client { clients[id]?.streams[route.stream] = stream }
    routes[stream] = route
    agent?.send(Frame(.request, stream: stream, payload: request))
    CrashPoint.pass(.supervisorAsked)
  }

  // MARK: Attached clients

  private func handleAttached(_ frame: Frame, from id: UInt64) {
    switch frame.type {
    case .credit:
      guard let bytes = frame.number else { return }
      clients[id]?.attached?.credit[frame.channel.rawValue, default: 0] += Int(min(bytes, 1 << 24))
      flushAttached(id)
    case .data, .end:
      guard clients[id]?.attached?.input == true else { return }
      guard frame.payload.count <= main.inputCredit else { return drop(id) }
      main.inputCredit -= frame.payload.count
      passToMain(frame)
    case .signal where phase != .running && main.exit == nil:
      // There is no process yet that it could reach: whoever waits for it has changed his mind.
      fail("interrupted", code: 128 + Int32(truncatingIfNeeded: (frame.number ?? UInt32(SIGINT)) & 127))
    case .signal, .resize: passToMain(frame)
    case .close: drop(id)
    default: break
    }
  }

  private func passToMain(_ frame: Frame) {
    if plan.process.machine { return passToConsole(frame) }
    var passed = frame
    passed.stream = Self.mainStream
    agent?.send(passed)
  }

  /// Whether the client took the chunk at once; else it is kept for it.
  func deliver(_ chunk: OutputChunk, to id: UInt64) -> Bool {
    clients[id]?.attached?.waiting.append(.chunk(chunk))
    chunk.holders += 1
    let held = chunk.holders
    flushAttached(id, granting: false)
    return chunk.holders < held
  }

  /// Sends what the client has credit for. A chunk that the last client took gives the guest its credit back.
  private func flushAttached(_ id: UInt64, granting: Bool = true) {
    while var attached = clients[id]?.attached, let next = attached.waiting.first {
      switch next {
      case .frame(let frame):
        attached.waiting.removeFirst()
        clients[id]?.attached = attached
        clients[id]?.connection.send(frame)
      case .chunk(let chunk):
        guard attached.credit[chunk.channel.rawValue, default: 0] >= chunk.bytes.count else { return }
        attached.credit[chunk.channel.rawValue, default: 0] -= chunk.bytes.count
        attached.waiting.removeFirst()
        clients[id]?.attached = attached
        clients[id]?.connection.send(
          Frame(.data, stream: attached.stream, channel: chunk.channel, payload: chunk.bytes))
        release(chunk, granting: granting)
      }
    }
    if let client = clients[id], client.finishing, client.attached != nil { client.connection.finish() }
  }

  private func release(_ chunk: OutputChunk, granting: Bool) {
    chunk.holders -= 1
    if granting && chunk.holders == 0 { grant(chunk) }
  }

  /// Sends a frame to everybody who is attached, after the output that waits before it.
  func sendToAttached(_ frame: Frame) {
    for id in clients.keys {
      guard let attached = clients[id]?.attached else { continue }
      var addressed = frame
      addressed.stream = attached.stream
      clients[id]?.attached?.waiting.append(.frame(addressed))
      flushAttached(id)
    }
  }

  func failAttached(code: Int32, message: String) {
    sendToAttached(Frame(.response, stream: 0, payload: Response(code: UInt64(code), text: message).encoded()))
  }

  // MARK: From the agent

  func passToClient(_ frame: Frame) {
    guard let route = routes[frame.stream] else { return }
    var passed = frame
    if frame.type == .credit {
      guard let bytes = frame.number.map({ Self.granted($0, beside: route.inputCredit) }) else { return }
      routes[frame.stream]?.inputCredit += bytes
      passed = .credit(stream: frame.stream, channel: .standardInput, bytes: bytes)
    }
    if route.isDetached, frame.type != .response {
      if frame.type == .data {
        agent?.send(.credit(stream: frame.stream, channel: frame.channel, bytes: frame.payload.count))
      }
      if frame.type == .exit {
        agent?.send(Frame(.acknowledge, stream: frame.stream))
        routes[frame.stream] = nil
      }
      return
    }
    let failed = frame.type == .response && ((try? Response(decoding: frame.payload))?.code ?? 0) != 0
    if frame.type == .response { routes[frame.stream]?.isAnswered = true }
    guard let id = route.client, let client = clients[id] else {
      // Nobody is left to acknowledge the end.
      if frame.type == .exit {
        agent?.send(Frame(.acknowledge, stream: frame.stream))
        routes[frame.stream] = nil
      }
      return
    }
    passed.stream = route.stream
    client.connection.send(passed)
    if failed {
      routes[frame.stream] = nil
      clients[id]?.streams[route.stream] = nil
    }
    // The guest keeps to the client's credit; one that does not would fill our memory.
    if client.connection.queued > 8 << 20 { drop(id) }
  }

  // MARK: The end

  func stop(_ request: StopRequest) {
    main.stopping = true
    CrashPoint.pass(.supervisorStopping)
    if phase == .restarting { return endWaitToRestart() }
    guard phase == .running, main.exit == nil else {
      if phase != .ending { finish(Outcome(exitCode: 137, failure: nil)) }
      return
    }
    let signal = request.signal == 0 ? plan.stopSignal : Int32(truncatingIfNeeded: request.signal)
    // A machine's agent knows how to ask its init for an orderly end.
    agent?.send(.signal(stream: Self.mainStream, number: signal))
    let grace = Int64(min(request.grace, 86_400_000))
    if plan.process.machine, grace > 0 {
      // An init that does not heed it may heed the machine's power button, in the last third of its grace.
      loop.schedule(after: .milliseconds(grace * 2 / 3)) { [weak self] in
        self?.assumeIsolated { supervisor in
          guard supervisor.main.exit == nil, let machine = supervisor.machine else { return }
          Task { try? await machine.powerButton() }
        }
      }
    }
    loop.schedule(after: .milliseconds(grace)) { [weak self] in
      self?.assumeIsolated { supervisor in
        if supervisor.main.exit == nil { supervisor.endHard() }
      }
    }
  }

  /// The end of a process that did not heed its stop signal. Where it writes to volumes the guest gets the time to unmount
  /// them: what it has not written back would be lost.
  private func endHard() {
    let killed = Outcome(exitCode: 137, failure: nil)
    guard writesVolumes, let agent else { return finish(killed) }
    main.killed = true
    agent.send(.signal(stream: Self.mainStream, number: SIGKILL))
    loop.schedule(after: Self.unmountTimeout) { [weak self] in
      self?.assumeIsolated { supervisor in
        if supervisor.main.exit == nil { supervisor.finish(killed) }
      }
    }
  }

  private static let unmountTimeout: Duration = .seconds(10)

  /// Whether a program of the VM writes to file systems that outlive it.
  var writesVolumes: Bool {
    !plan.process.machine
      && (plan.guest.mounts ?? []).contains { $0.kind == GuestMount.Kind.disk.rawValue && !$0.readOnly }
  }

  func drop(_ id: UInt64) {
    clients[id]?.connection.close()
    clientGone(id)
  }

  private func clientGone(_ id: UInt64) {
    guard let client = clients.removeValue(forKey: id) else { return }
    for stream in client.streams.values {
      routes[stream]?.client = nil
      if routes[stream]?.isDetached != true { agent?.send(Frame(.close, stream: stream)) }
    }
    for case .chunk(let chunk) in client.attached?.waiting ?? [] { release(chunk, granting: true) }
    resumeClosing()
  }

  /// Lets an attached client read what was sent, and closes.
  func finishAttached(_ id: UInt64) {
    clients[id]?.finishing = true
    flushAttached(id)
  }

  /// Tells everybody who waits for something from the guest that it has ended, as docker does: with 137 for a process.
  func endRoutes() {
    for route in routes.values {
      guard let id = route.client, let client = clients[id] else { continue }
      clients[id]?.streams[route.stream] = nil
      if route.isProcess, route.isAnswered {
        if route.isDetached { continue }
        let status = ExitStatus(shellStatus: 137)
        client.connection.send(Frame(.exit, stream: route.stream, payload: status.encoded()))
      } else {
        let response = Response(code: 125, text: "the VM ended meanwhile")
        client.connection.send(Frame(.response, stream: route.stream, payload: response.encoded()))
      }
    }
    routes = [:]
  }

  /// Answers who waits for the end, lets everybody read what was sent, and closes.
  func closeClients() async {
    for id in clients.keys {
      guard let client = clients[id] else { continue }
      if let stream = client.stopStream {
        client.connection.send(Frame(.response, stream: stream, payload: Response().encoded()))
      }
      clients[id]?.finishing = true
      if client.attached == nil { client.connection.finish() } else { flushAttached(id) }
    }
    // A client that does not read what it asked for is not waited for beyond this.
    let deadline = loop.schedule(after: .seconds(60)) { [weak self] in
      self?.assumeIsolated { supervisor in
        for id in supervisor.clients.keys { supervisor.drop(id) }
      }
    }
    await allClientsGone()
    loop.cancelTimer(deadline)
  }
}
