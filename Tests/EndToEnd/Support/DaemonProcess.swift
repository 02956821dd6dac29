import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// `ignited` as a test runs it, its log in a file.
final class DaemonProcess: Sendable {
  private let ignite: Ignite
  private let program: RunningProgram
  let socket: String

  var pid: Int32 { program.pid }

  private init(_ ignite: Ignite, _ program: RunningProgram, socket: String) {
    self.ignite = ignite
    self.program = program
    self.socket = socket
  }

  /// Starts it, and returns at once.
  ///
  /// - Parameters:
  ///   - command: `ignited`'s.
  ///   - listener: a socket that listens at `socket`, to be passed as a service manager does.
  static func launch(
    _ ignite: Ignite, _ options: [String] = [], command: [String] = ["daemon"], extra: [String: String] = [:],
    listener: FileDescriptor? = nil, socket: String? = nil
  ) throws -> DaemonProcess {
    let link = try ignite.ignited()
    // The shell's process becomes the daemon, so its number is the one that the socket is meant for.
    let passed = listener == nil ? "" : "export LISTEN_PID=$$ LISTEN_FDS=1; "
    var program = ignite.command([], extra: extra)
    program.arguments =
      (Ignite.wrap + ["/bin/sh", "-c", "\(passed)exec \"$@\" 2>>\(ignite.folder)/log", "sh", link] + command + options)
      .withAbsoluteFirst()
    if let listener { program.descriptors = [.init(source: listener.number, place: 3)] }
    return DaemonProcess(ignite, try program.start(), socket: socket ?? ignite.folder + "/run/ignited.sock")
  }

  /// Runs `body` with one that has come up, and ends it.
  static func with(
    _ ignite: Ignite, _ options: String..., extra: [String: String] = [:], _ body: (DaemonProcess) async throws -> Void
  ) async throws {
    let daemon = try launch(ignite, options, extra: extra)
    try await daemon.ready()
    try await body(daemon)
    let status = try await daemon.end()
    #expect(status == 0, "\(daemon.log)")
  }

  var log: String { (try? String(contentsOfFile: ignite.folder + "/log", encoding: .utf8)) ?? "" }

  func signal(_ number: Int32) throws { try program.signal(number) }
  func ended() async -> Int32 { await program.ended() }

  func end(_ number: Int32 = SIGTERM) async throws -> Int32 {
    try signal(number)
    return await ended()
  }

  /// The status and the body of an answer; status 0 where there was none.
  func get(_ path: String, _ options: String...) async throws -> (status: Int, body: String) {
    let result = try await Program(
      arguments: ["curl", "-sS", "--max-time", "60", "--unix-socket", socket, "-w", "\n%{http_code}"]
        .withAbsoluteFirst() + options + ["http://ignited\(path)"],
      environment: Ignite.variables
    ).run()
    let lines = result.text.split(separator: "\n", omittingEmptySubsequences: false)
    return (lines.last.flatMap { Int($0) } ?? 0, lines.dropLast().joined(separator: "\n"))
  }

  /// Waits until it is ready; fails where it has ended.
  func ready() async throws {
    while try await get("/readyz").status != 200 {
      guard kill(pid, 0) == 0, program.process.reap() == nil else {
        Issue.record("the daemon has ended: \(log)")
        throw CommandFailed()
      }
      try Task.checkCancellation()
    }
  }

  /// Waits for a line of the metrics.
  func metric(_ line: String) async throws {
    while !(try await get("/metrics").body.contains("\(line)\n")) { try Task.checkCancellation() }
  }

  /// Waits for words in the log.
  func logged(_ words: String) async throws {
    while !log.contains(words) {
      try Task.checkCancellation()
      try await Task.sleep(for: .milliseconds(20))
    }
  }
}

extension Ignite {
  /// The path of `ignited`, a link to the program.
  func ignited() throws -> String {
    let link = folder + "/ignited"
    if symlink(Ignite.program, link) != 0, errno != EEXIST { throw SystemError("link \(link)") }
    return link
  }
}

/// A service manager's socket, as NOTIFY_SOCKET names it.
final class NotifySocket: Sendable {
  let name: String
  private let socket: FileDescriptor

  /// - Parameter path: made there; in the abstract namespace where it begins with `@`.
  init(_ path: String) throws {
    name = path
    let flags = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    socket = FileDescriptor(Glibc.socket(AF_UNIX, flags, 0))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = path.hasPrefix("@") ? [0] + Array(path.utf8.dropFirst()) : Array(path.utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let number = socket.number
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(number, $0, socklen_t(2 + bytes.count)) }
    }
    guard bound == 0 else { throw SystemError("bind \(path)") }
    if !path.hasPrefix("@") { chmod(path, 0o666) }
  }

  /// The lines of the next message that says more than that the daemon lives; how often it said that meanwhile.
  func next() async throws -> (lines: [String], alive: Int) {
    var alive = 0
    while true {
      try Task.checkCancellation()
      let message = await ThreadExecutor.run(name: "test-notify") { [socket] in
        var wait = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
        guard poll(&wait, 1, 1000) == 1 else { return "" }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(socket.number, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
      }
      if message == "WATCHDOG=1" {
        alive += 1
      } else if !message.isEmpty {
        return (message.split(separator: "\n").map(String.init), alive)
      }
    }
  }

  /// Waits until the daemon has said that it lives.
  func alive() async throws {
    while true {
      try Task.checkCancellation()
      let message = await ThreadExecutor.run(name: "test-notify") { [socket] in
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(socket.number, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
      }
      if message == "WATCHDOG=1" { return }
    }
  }
}
