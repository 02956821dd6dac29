internal import Glibc
internal import IgniteSystem
internal import IgniteWire

/// The process that stands for a machine: `ignite-spawn --does-nothing DISK`. It plays the guest's agent: says of its
/// configuration and of its main process that they are there, and ends as a guest does whose program a signal has ended.
public struct StandIn {
  static let word = "--does-nothing"
  /// Descriptors at which it is connected to.
  private static let agentPlace: Int32 = 3
  private static let consolePlace: Int32 = 4
  /// Milliseconds for which a process's end waits for its acknowledgement, as in a guest.
  private static let acknowledgeGrace: Int32 = 10_000
  /// Signals that do not end a program which says nothing of them.
  private static let harmless: Set<Int32> = [0, SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU]

  private enum Main {
    case absent
    case runs(stream: UInt32)
    case ended(stream: UInt32, ExitStatus)
  }

  private var agent: FileDescriptor?
  private var console: FileDescriptor?
  private var decoder = FrameDecoder()
  private var session: UInt32 = 0
  private var main = Main.absent
  private var isOff = false

  // MARK: Starting it

  /// Starts it, its sockets listening already. Blocking.
  static func start(
    _ configuration: MachineConfiguration, confinement: MachineConfinement
  ) throws(SystemError) -> LaunchedProcess {
    var listeners: [FileDescriptor] = []
    var descriptors: [LaunchRequest.Descriptor] = []
    for (path, place) in [
      (configuration.agentSocketPath, agentPlace), (configuration.consoleSocketPath, consolePlace),
    ] {
      unlink(path)
      let listener = try UnixSocket.listen(path, backlog: 4)
      descriptors.append(.init(source: listener.number, place: place))
      listeners.append(listener)
    }
    defer { withExtendedLifetime(listeners) {} }
    // The disk tells whose it is, should nobody have written down its number.
    let disk = configuration.drives.first { !$0.readOnly }?.path ?? ""
    return try launch(
      LaunchRequest(
        executable: "/proc/self/exe", arguments: ["ignite-spawn", word, disk], descriptors: descriptors,
        workingDirectory: "/", isolation: confinement.isolation, cgroup: confinement.cgroup, limits: confinement.limits)
    )
  }

  // MARK: Being it

  /// Whether these are its arguments.
  public static func isWanted(_ arguments: [String]) -> Bool { arguments.first == word }

  /// Is it, to its end; the process's exit status. Blocking, on one thread.
  public static func run(_ arguments: [String]) -> Int32 {
    for place in [agentPlace, consolePlace] {
      // Started by hand it has nobody to answer.
      guard arguments.count == 2, isListening(place), fcntl(place, F_SETFD, FD_CLOEXEC) == 0 else { return 1 }
    }
    var process = StandIn()
    process.serve()
    return 0
  }

  private static func isListening(_ number: Int32) -> Bool {
    var isListening: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &size) == 0 && isListening != 0
  }

  private mutating func serve() {
    while !isOff {
      var polled = [Self.agentPlace, Self.consolePlace, agent?.number ?? -1, console?.number ?? -1].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      let wait = if case .ended = main { Self.acknowledgeGrace } else { Int32(-1) }
      let count = poll(&polled, nfds_t(polled.count), wait)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      if polled[3].revents != 0 { drainConsole() }
      if polled[2].revents != 0 { readAgent() }
      if polled[1].revents != 0 { acceptConsole() }
      if polled[0].revents != 0 { acceptAgent() }
    }
  }

  /// One host at a time: who comes later takes the place of the one before.
  private mutating func acceptAgent() {
    guard let socket = UnixSocket.accept(Self.agentPlace) else { return }
    agent = socket
    decoder.reset()
  }

  private mutating func acceptConsole() {
    guard let socket = UnixSocket.accept(Self.consolePlace) else { return }
    console = socket
    let line = Array("\(DoesNothingHypervisor.explanation)\n".utf8)
    _ = write(socket.number, line, line.count)
  }

  /// What is typed is read, and forgotten.
  private mutating func drainConsole() {
    guard let console, Self.read(from: console) == nil else { return }
    self.console = nil
  }

  private mutating func readAgent() {
    guard let agent else { return }
    guard let bytes = Self.read(from: agent) else {
      self.agent = nil
      return
    }
    decoder.append(bytes)
    while !isOff, let event = decoder.next() {
      switch event {
      case .preamble(let preamble): begin(preamble)
      case .frame(let frame): handle(frame)
      case .desynchronized: break
      }
    }
  }

  /// What there is to read, at most 64 KiB; nil once the other end has gone.
  private static func read(from socket: FileDescriptor) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 64 << 10)
    let count = Glibc.read(socket.number, &bytes, bytes.count)
    if count < 0 { return errno == EAGAIN || errno == EINTR ? [] : nil }
    return count == 0 ? nil : Array(bytes.prefix(count))
  }

  // MARK: The agent's part

  private mutating func begin(_ preamble: Preamble) {
    session = preamble.session
    send(Preamble(session: session).encoded())
    // Kept until it is acknowledged: the host before may have gone without.
    if case .ended(let stream, let status) = main { tellEnd(stream, status) }
  }

  private mutating func handle(_ frame: Frame) {
    switch (frame.type, main) {
    case (.request, _): answer(frame)
    case (.data, .runs(frame.stream)) where frame.channel == .standardInput:
      // Read, and forgotten.
      send(Frame.credit(stream: frame.stream, channel: .standardInput, bytes: frame.payload.count))
    case (.signal, .runs(frame.stream)):
      guard let number = frame.number, case let signal = Int32(truncatingIfNeeded: number),
        (1...64).contains(signal), !Self.harmless.contains(signal)
      else { return }
      let status = ExitStatus(signal: UInt64(signal))
      main = .ended(stream: frame.stream, status)
      tellEnd(frame.stream, status)
    case (.acknowledge, .ended(frame.stream, _)): isOff = true
    default: break
    }
  }

  private mutating func answer(_ frame: Frame) {
    let kind = try? requestKind(of: frame.payload)
    var response = Response(code: 125, text: DoesNothingHypervisor.explanation)
    switch (kind, main) {
    case (.configure, _), (.setClock, _): response = Response()
    case (.start, .absent):
      guard let request = try? ProcessRequest(decoding: frame.payload), request.isMain else { break }
      main = .runs(stream: frame.stream)
      response = Response(value: 1)
    case (.shutDown, _):
      response = Response()
      isOff = true
    default: break
    }
    send(Frame(.response, stream: frame.stream, payload: response.encoded()))
  }

  private mutating func tellEnd(_ stream: UInt32, _ status: ExitStatus) {
    for channel in [Channel.standardOutput, .standardError] { send(Frame(.end, stream: stream, channel: channel)) }
    send(Frame(.exit, stream: stream, payload: status.encoded()))
  }

  private mutating func send(_ frame: Frame) { send(frame.encoded(session: session)) }

  /// A host that does not take the few bytes there are is let go.
  private mutating func send(_ bytes: [UInt8]) {
    guard let socket = agent, write(socket.number, bytes, bytes.count) != bytes.count else { return }
    agent = nil
  }
}
