internal import Glibc
public import IgniteSystem

/// A running passt. It ends by itself when the hypervisor closes its end of the socket.
public final class NetworkProcess: Sendable {
  /// What a start gives.
  public struct Started: Sendable {
    public var process: NetworkProcess
    /// The hypervisor's end of the frames' socket; the caller closes it once the hypervisor has inherited it.
    public var socket: FileDescriptor
  }

  private let child: LaunchedProcess
  private let loop: EventLoop

  private init(child: LaunchedProcess, loop: EventLoop) {
    self.child = child
    self.loop = loop
  }

  public var identity: ProcessIdentity { child.identity }

  /// Starts passt as the caller's user and in its root; returns once its ports are bound.
  /// - Parameter isolation: another user and root; a caller that is root gives one, as passt refuses root.
  /// - Throws: what `PublishedPort.check` throws; `notInstalled`; `startFailed` with passt's own words.
  public static func start(
    _ settings: PasstSettings, loop: EventLoop, isolation: Isolation? = nil
  ) async throws(NetworkError) -> Started {
    let begun = try await begin(settings, isolation: isolation)
    let process = try await ready(begun, settings, loop: loop)
    return Started(process: process, socket: begun.socket)
  }

  /// A passt on its way: its socket is there, its ports may not be bound yet.
  public struct Begun: Sendable {
    /// The hypervisor's end of the frames' socket.
    public var socket: FileDescriptor
    public var identity: ProcessIdentity { child.identity }
    fileprivate var child: LaunchedProcess
    fileprivate var output: FileDescriptor
    fileprivate var errors: FileDescriptor
  }

  /// The two ends of the socket that frames pass through, for a hypervisor that is there before its passt.
  public struct Frames: Sendable {
    public var hypervisors: FileDescriptor
    public var passts: FileDescriptor

    public init() throws(SystemError) { (hypervisors, passts) = try UnixSocket.pair() }
  }

  /// Starts passt without waiting for it; `ready` has to follow.
  /// - Parameter frames: the socket; nil makes one.
  public static func begin(
    _ settings: PasstSettings, isolation: Isolation? = nil, frames: Frames? = nil
  ) async throws(NetworkError) -> Begun {
    try await ThreadExecutor.run { () throws(NetworkError) -> Begun in
      guard isExecutable(settings.program) else {
        throw NetworkError(.notInstalled, "passt is not installed at \(settings.program)", advice: "install passt")
      }
      try PublishedPort.check(settings.ports)
      do throws(SystemError) {
        return try launch(settings, isolation: isolation, frames: frames)
      } catch {
        throw NetworkError(error)
      }
    }
  }

  /// Waits until its ports are bound. A passt that does not come up is ended.
  public static func ready(
    _ begun: Begun, _ settings: PasstSettings, loop: EventLoop
  ) async throws(NetworkError) -> NetworkProcess {
    let said = await ThreadExecutor.run { waitForText(begun.output, errors: begun.errors) }
    if said.ready { return NetworkProcess(child: begun.child, loop: loop) }
    try? begun.child.kill()
    let end = await begun.child.exited(on: loop)
    throw failure(said: said.said, end: end, settings: settings)
  }

  /// Ends passt and waits for it.
  public func end() async {
    try? child.kill()
    _ = await child.exited(on: loop)
  }

  /// Waits for its end, which comes with the hypervisor's.
  public func exited() async -> ProcessEnd { await child.exited(on: loop) }

  private static func launch(
    _ settings: PasstSettings, isolation: Isolation?, frames given: Frames?
  ) throws(SystemError) -> Begun {
    let frames = if let given { given } else { try Frames() }
    let output = try FileDescriptor.pipe()
    let errors = try FileDescriptor.pipe()
    // passt opens its standard output anew, by name, to write its pid there: the pipe must be its user's.
    if let isolation {
      try retrying("chown a pipe") { Int(fchown(output.write.number, isolation.uid, isolation.gid)) }
    }
    let child = try IgniteSystem.launch(
      LaunchRequest(
        executable: settings.program, arguments: ["passt"] + settings.arguments(),
        environment: ["PATH": "/usr/bin:/bin"], standardOutput: output.write.number,
        standardError: errors.write.number,
        descriptors: [.init(source: frames.passts.number, place: PasstSettings.place)],
        workingDirectory: "/", isolation: isolation, limits: [.noCore, .openFiles(65_536)]))
    output.write.close()
    errors.write.close()
    return Begun(socket: frames.hypervisors, child: child, output: output.read, errors: errors.read)
  }

  /// Blocking, for the 10 milliseconds that passt takes, and for 10 seconds at most: waits until something comes on the
  /// output (its pid: it is ready) or that is closed (it has ended).
  private static func waitForText(_ output: FileDescriptor, errors: FileDescriptor) -> (ready: Bool, said: String) {
    var said: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    var errorsOpen = true
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline {
      var entries = [
        pollfd(fd: output.number, events: Int16(POLLIN), revents: 0),
        pollfd(fd: errorsOpen ? errors.number : -1, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&entries, 2, 200) > 0 else { continue }
      if entries[1].revents != 0 {
        let count = read(errors.number, &buffer, buffer.count)
        if count > 0, said.count < 8192 { said += buffer[0..<count] }
        if count == 0 { errorsOpen = false }
      } else if entries[0].revents != 0 {
        return (read(output.number, &buffer, buffer.count) > 0, String(decoding: said, as: UTF8.self))
      }
    }
    return (false, "no answer within 10 seconds")
  }

  /// passt's last words, without its complaints that there is no system log.
  static func failure(said: String, end: ProcessEnd, settings: PasstSettings) -> NetworkError {
    let lines = said.split(separator: "\n").filter {
      !$0.allSatisfy(\.isWhitespace) && !($0.hasPrefix("Failed to send") && $0.hasSuffix("to syslog"))
    }
    let words = lines.last.map(String.init) ?? end.description
    if words.contains("bind") || words.contains("ort") && words.contains("in use") {
      return NetworkError(
        .portInUse, "passt could not bind the published ports: \(words)", advice: "publish other ports of the host")
    }
    return NetworkError(
      .startFailed, "passt could not start: \(words)",
      advice: "run 'ignite doctor', or choose the network mode 'restricted'")
  }
}
