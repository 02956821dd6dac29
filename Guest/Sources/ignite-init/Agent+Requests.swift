import CGuest
import IgniteWire

extension Agent {
  func handle(_ event: FrameDecoder.Event) {
    switch event {
    case .preamble(let preamble): beginSession(preamble)
    case .frame(let frame): handle(frame)
    case .desynchronized: break
    }
  }

  /// A host has connected: the streams of the last one are closed, but the main process's.
  private func beginSession(_ preamble: Preamble) {
    port.open(preamble)
    for process in processes {
      if process.isMain { process.beginSession() } else { process.close() }
    }
    processes.removeAll { !$0.isMain }
  }

  private func handle(_ frame: Frame) {
    if frame.type == .request { return request(frame) }
    guard let process = processes.first(where: { $0.stream == frame.stream }) else { return }
    switch frame.type {
    case .data where frame.channel == .standardInput:
      // Beyond its credit: the host and the guest do not agree on what was sent.
      if !process.input.append(frame.payload) { close(process) }
    case .end where frame.channel == .standardInput: process.input.end()
    case .credit:
      if let bytes = frame.number { process.output(of: frame.channel)?.add(credit: bytes) }
    case .signal:
      if let number = frame.number { process.signal(Int32(truncatingIfNeeded: number)) }
    case .resize:
      if let size = frame.terminalSize { process.resize(size) }
    case .acknowledge: acknowledge(process)
    case .close: close(process)
    default: break
    }
  }

  private func close(_ process: GuestProcess) {
    process.close()
    if !process.isMain { processes.removeAll { $0 === process } }
  }

  private func acknowledge(_ process: GuestProcess) {
    guard process.exitSent, let status = process.status else { return }
    if process.isMain { powerOff(status) }
    processes.removeAll { $0 === process }
  }

  // MARK: - Requests

  private func request(_ frame: Frame) {
    do throws(GuestError) {
      switch try kind(frame.payload) {
      case .configure: try configure(frame)
      case .start: try start(frame)
      case .prepare: try prepareForFreezing(frame)
      case .shutDown: shutDown()
      case .copyOut:
        let request = try copyOutRequest(frame.payload)
        try work(frame, input: false) { Worker.copyOut(request) }
      case .copyIn:
        let request = try copyInRequest(frame.payload)
        try work(frame, input: true) { Worker.copyIn(request) }
      case .processes: try work(frame, input: false) { ProcessList.write() }
      case .setClock: try setClock(frame)
      case .changes: try changes(frame)
      case .statistics: try work(frame, input: false) { Statistics.write() }
      default: throw GuestError("the guest does not know this request")
      }
    } catch {
      respond(frame.stream, Response(code: error.code, text: error.text))
    }
  }

  func respond(_ stream: UInt32, _ response: Response) {
    port.send(Frame(.response, stream: stream, payload: response.encoded()))
  }

  private func kind(_ payload: Bytes) throws(GuestError) -> RequestKind {
    do throws(MessageError) { return try requestKind(of: payload) } catch { throw malformed }
  }

  private var malformed: GuestError { GuestError("the request is malformed") }

  private func configure(_ frame: Frame) throws(GuestError) {
    guard main == nil, !isMachine else { throw GuestError("the guest has been configured") }
    let configuration: Configuration
    do throws(MessageError) { configuration = try Configuration(decoding: frame.payload) } catch { throw malformed }
    do throws(GuestError) {
      if let before = self.configuration {
        try configureAgain(configuration, before: before)
      } else {
        try ignite_init.configure(configuration)
      }
    } catch {
      Console.log(error.text)
      throw error
    }
    self.configuration = configuration
    self.configuration?.entropy = []
    respond(frame.stream, Response())
  }

  /// After a pause, in which the clock stood still.
  private func setClock(_ frame: Frame) throws(GuestError) {
    let request: ClockRequest
    do throws(MessageError) { request = try ClockRequest(decoding: frame.payload) } catch { throw malformed }
    guard guest_set_wall_clock(request.wallClock) == 0 else { throw GuestError("set the clock", errno: guest_errno()) }
    respond(frame.stream, Response())
  }

  /// What is done here is done once for all clones, and not in any of them.
  private func prepareForFreezing(_ frame: Frame) throws(GuestError) {
    guard !configured else { throw GuestError("the guest has been configured") }
    let configuration: Configuration
    do throws(MessageError) { configuration = try Configuration(decoding: frame.payload) } catch { throw malformed }
    try ignite_init.prepareForFreezing(configuration)
    respond(frame.stream, Response())
  }

  private func start(_ frame: Frame) throws(GuestError) {
    guard configured else { throw GuestError("the guest has not been configured") }
    let request: ProcessRequest
    do throws(MessageError) { request = try ProcessRequest(decoding: frame.payload) } catch { throw malformed }
    guard !processes.contains(where: { $0.stream == frame.stream }) else { throw GuestError("the stream is in use") }
    guard request.container.utf8.elementsEqual("main".utf8) else {
      throw GuestError("the guest has no container " + request.container)
    }
    if let main {
      if request.isMain { throw GuestError("the main process has been started") }
      if main.status != nil { throw GuestError("the main process has ended") }
    }
    if request.isMain, request.machine { return try startMachine(request, frame.stream) }

    let wiring = try launcher.wire(request)
    let pid: Int32
    do throws(GuestError) { pid = try launcher.launch(request, wiring) } catch {
      wiring.closeAll()
      throw error
    }
    wiring.closeOwn()
    add(request, frame.stream, pid, wiring)
    if request.isMain { startedAt = guest_monotonic() }
    respond(frame.stream, Response(value: UInt64(pid)))
  }

  private func copyOutRequest(_ payload: Bytes) throws(GuestError) -> CopyOutRequest {
    do throws(MessageError) { return try CopyOutRequest(decoding: payload) } catch { throw malformed }
  }

  private func copyInRequest(_ payload: Bytes) throws(GuestError) -> CopyInRequest {
    do throws(MessageError) { return try CopyInRequest(decoding: payload) } catch { throw malformed }
  }

  /// What the VM has written, beside what its image has.
  private func changes(_ frame: Frame) throws(GuestError) {
    guard Root.image >= 0, PowerOff.writableDisk >= 0 else {
      throw GuestError("this VM's kernel has no overlay file system, so that nothing tells its files from its image's")
    }
    try work(frame, input: false, reading: Root.image, from: PowerOff.writableDisk) {
      guest_write_changes("upper", 0, 1) == 0 ? 0 : 1
    }
  }

  /// Does what blocks in a process of its own, whose streams and end are told as those of any other.
  /// - Parameters:
  ///   - reading: what is its input, where nothing is sent.
  ///   - directory: where it works.
  private func work(
    _ frame: Frame, input: Bool, reading: Int32 = -1, from directory: Int32 = -1, _ body: () -> Int32
  ) throws(GuestError) {
    guard configured else { throw GuestError("the guest has not been configured") }
    guard !processes.contains(where: { $0.stream == frame.stream }) else { throw GuestError("the stream is in use") }
    if let main, main.status != nil { throw GuestError("the main process has ended") }
    var request = ProcessRequest()
    request.input = input
    let wiring = try launcher.wire(request)
    let pid = guest_fork()
    if pid == 0 {
      if directory >= 0 { _ = fchdir(directory) }
      Worker.run(own: reading >= 0 ? [reading, wiring.own[1], wiring.own[2]] : wiring.own, body)
    }
    guard pid > 0 else {
      let error = guest_errno()
      wiring.closeAll()
      throw GuestError("start a process", errno: error)
    }
    wiring.closeOwn()
    add(request, frame.stream, pid, wiring)
    respond(frame.stream, Response(value: UInt64(pid)))
  }

  private func add(_ request: ProcessRequest, _ stream: UInt32, _ pid: Int32, _ wiring: Launcher.Wiring) {
    lastSerial += 1
    let terminal = wiring.terminal
    let outputs: [OutputChannel]
    if terminal >= 0 {
      outputs = [OutputChannel(descriptor: terminal, channel: .standardOutput)]
      loop.watch(terminal, events: guest_event_input | guest_event_output, role: .output, serial: lastSerial)
    } else {
      outputs = [
        OutputChannel(descriptor: wiring.output, channel: .standardOutput),
        OutputChannel(descriptor: wiring.errors, channel: .standardError),
      ]
      loop.watch(wiring.output, events: guest_event_input, role: .output, serial: lastSerial)
      loop.watch(wiring.errors, events: guest_event_input, role: .error, serial: lastSerial)
      if wiring.input >= 0 {
        loop.watch(wiring.input, events: guest_event_output, role: .input, serial: lastSerial)
      }
    }
    let input = InputChannel(descriptor: terminal >= 0 ? terminal : wiring.input, terminal: terminal >= 0)
    processes.append(
      GuestProcess(
        serial: lastSerial, stream: stream, isMain: request.isMain, pid: pid, terminal: terminal, input: input,
        outputs: outputs))
  }

  private func shutDown() {
    port.drain(nanoseconds: Self.second)
    if isMachine { MachineMode.shutDown() } else { PowerOff.now() }
  }
}
