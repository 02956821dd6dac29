internal import CIgniteSystem
internal import Glibc
internal import Synchronization

/// A short-lived helper program, run to its end with its output kept: `apt-get`, `dpkg-deb` and their kind.
///
/// The child has `/dev/null` or a few bytes as its standard input, a process group of its own, default signals, and no descriptor of
/// this process but its output pipes.
public struct ChildProcess: Sendable {
  /// The program and its arguments; the first element is looked for along PATH.
  public var arguments: [String]
  /// Variables set on top of this process's own environment.
  public var environment: [String: String]
  /// Where the child runs; nil for this process's own directory.
  public var workingDirectory: String?
  /// The most bytes that are kept of each output, 1 MiB unless told; what goes beyond is read and dropped.
  public var outputLimit: Int
  /// What the child reads on its standard input, at most what a pipe holds (64,000 bytes); nil for `/dev/null`.
  public var input: [UInt8]?

  public init(
    _ arguments: [String], environment: [String: String] = [:], workingDirectory: String? = nil,
    outputLimit: Int = 1 << 20
  ) {
    self.arguments = arguments
    self.environment = environment
    self.workingDirectory = workingDirectory
    self.outputLimit = outputLimit
  }

  /// What a child left behind.
  public struct Outcome: Sendable {
    /// How the child ended.
    public enum End: Sendable, Equatable {
      case exited(Int32)
      case signalled(Int32)
    }
    public var end: End
    public var standardOutput: [UInt8]
    public var standardError: [UInt8]
    /// Whether one of the outputs was longer than the limit.
    public var truncated: Bool

    public var succeeded: Bool { end == .exited(0) }
    /// Standard output as text; invalid UTF-8 is replaced.
    public var text: String { String(decoding: standardOutput, as: UTF8.self) }
    /// Standard error as text; invalid UTF-8 is replaced.
    public var errorText: String { String(decoding: standardError, as: UTF8.self) }
  }

  /// Runs the program to its end.
  ///
  /// When the task is cancelled, the child's process group gets SIGTERM and two seconds later SIGKILL, and the call
  /// returns when the child is reaped.
  ///
  /// - Throws: `SystemError` where the program cannot be started, `CancellationError` when the task was cancelled.
  public func run() async throws -> Outcome {
    let cancellation = CancellationPipe(try FileDescriptor.pipe())
    let outcome = try await withTaskCancellationHandler {
      try await ThreadExecutor.run(name: "ignite-child") { try self.runBlocking(cancellation) }
    } onCancel: {
      cancellation.cancel()
    }
    if cancellation.isCancelled { throw CancellationError() }
    return outcome
  }

  private func runBlocking(_ cancellation: CancellationPipe) throws -> Outcome {
    let output = try FileDescriptor.pipe()
    let errors = try FileDescriptor.pipe()
    let pid = try spawn(input: try inputPipe(), output: output.write, errors: errors.write)
    output.write.close()
    errors.write.close()
    var captures = [Capture(output.read, limit: outputLimit), Capture(errors.read, limit: outputLimit)]
    collect(&captures, pid: pid, cancellation)
    let status = reap(pid, cancellation)
    let signal = status & 0x7f
    return Outcome(
      end: signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal), standardOutput: captures[0].bytes,
      standardError: captures[1].bytes, truncated: captures.contains { $0.truncated })
  }

  /// Waits for the end of a child whose outputs have ended; most have ended too.
  private func reap(_ pid: pid_t, _ cancellation: CancellationPipe) -> Int32 {
    var status: Int32 = 0
    var wait: Int32 = 1
    while true {
      let reaped = waitpid(pid, &status, WNOHANG)
      if reaped == pid || (reaped < 0 && errno != EINTR) { return status }
      var wake = pollfd(fd: cancellation.wake.number, events: Int16(POLLIN), revents: 0)
      if poll(&wake, 1, wait) > 0 {
        kill(-pid, SIGKILL)
        // The wake-up stays readable: without a pause this loop would spin until the killed child can be reaped.
        usleep(1000)
      }
      wait = min(wait * 2, 50)
    }
  }

  /// A pipe with the input in it: it is written before there is anybody to read it, and so cannot stall.
  private func inputPipe() throws(SystemError) -> FileDescriptor? {
    guard let input else { return nil }
    let pipe = try FileDescriptor.pipe()
    try pipe.write.setNonBlocking()
    let written = try retrying("write the input of \(arguments.first ?? "")") {
      input.withUnsafeBytes { write(pipe.write.number, $0.baseAddress, $0.count) }
    }
    guard written == input.count else { throw SystemError("write the input of \(arguments.first ?? "")", code: E2BIG) }
    pipe.write.close()
    return pipe.read
  }

  private func spawn(input: FileDescriptor?, output: FileDescriptor, errors: FileDescriptor) throws -> pid_t {
    guard let program = arguments.first else { throw SystemError("start a program without a name", code: EINVAL) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input {
      posix_spawn_file_actions_adddup2(&actions, input.number, 0)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, output.number, 1)
    posix_spawn_file_actions_adddup2(&actions, errors.number, 2)
    let unprepared = ignite_spawn_prepare(&actions, workingDirectory)
    guard unprepared == 0 else { throw SystemError("start \(program)", code: unprepared) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

    let words = CStrings(arguments)
    let variables = CStrings(environmentLines())
    var pid: pid_t = 0
    let failure = posix_spawnp(&pid, program, &actions, &attributes, words.pointers, variables.pointers)
    guard failure == 0 else { throw SystemError("start \(program)", code: failure) }
    return pid
  }

  private func environmentLines() -> [String] {
    var lines: [String] = []
    var cursor = environ
    while let line = cursor.pointee {
      let text = String(cString: line)
      let name = text.prefix { $0 != "=" }
      if environment[String(name)] == nil { lines.append(text) }
      cursor += 1
    }
    return lines + environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
  }

  /// Reads both outputs until they end; a cancellation ends the child, which ends them.
  private func collect(_ captures: inout [Capture], pid: pid_t, _ cancellation: CancellationPipe) {
    var signalled = false
    var killed = false
    while captures.contains(where: { !$0.ended }) {
      var polls = captures.map { pollfd(fd: $0.ended ? -1 : $0.descriptor.number, events: Int16(POLLIN), revents: 0) }
      polls.append(pollfd(fd: signalled ? -1 : cancellation.wake.number, events: Int16(POLLIN), revents: 0))
      let ready = poll(&polls, nfds_t(polls.count), signalled && !killed ? 2000 : killed ? 100 : -1)
      if ready < 0 {
        if errno == EINTR { continue }
        break
      }
      if polls[2].revents != 0 {
        // The child is not reaped yet, so the number cannot be another process's.
        kill(-pid, SIGTERM)
        signalled = true
      } else if ready == 0 {
        // A grandchild that left the group and holds the pipe must not hold us.
        if killed { break }
        kill(-pid, SIGKILL)
        killed = true
      }
      for index in captures.indices where polls[index].revents != 0 { captures[index].readSome() }
    }
  }
}

/// One output pipe and what is kept of it.
private struct Capture {
  let descriptor: FileDescriptor
  let limit: Int
  var bytes: [UInt8] = []
  var truncated = false
  var ended = false

  init(_ descriptor: FileDescriptor, limit: Int) {
    self.descriptor = descriptor
    self.limit = limit
  }

  mutating func readSome() {
    var buffer = [UInt8](repeating: 0, count: 16384)
    let count = read(descriptor.number, &buffer, buffer.count)
    if count < 0, errno == EINTR { return }
    if count <= 0 {
      ended = true
      return
    }
    let kept = min(count, max(0, limit - bytes.count))
    bytes.append(contentsOf: buffer[..<kept])
    if kept < count { truncated = true }
  }
}

/// Wakes the thread that waits for a child; the write end's closing is the message.
private final class CancellationPipe: Sendable {
  let wake: FileDescriptor
  private let end: FileDescriptor
  private let cancelled = Atomic(false)

  init(_ ends: (read: FileDescriptor, write: FileDescriptor)) {
    wake = ends.read
    end = ends.write
  }

  var isCancelled: Bool { cancelled.load(ordering: .acquiring) }

  func cancel() {
    cancelled.store(true, ordering: .releasing)
    end.close()
  }
}

/// A NULL-terminated vector of C strings, as exec wants it.
private final class CStrings {
  let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let count: Int

  init(_ strings: [String]) {
    count = strings.count
    pointers = .allocate(capacity: count + 1)
    for (index, string) in strings.enumerated() { (pointers + index).initialize(to: strdup(string)) }
    (pointers + count).initialize(to: nil)
  }

  deinit {
    for index in 0..<count { free(pointers[index]) }
    pointers.deallocate()
  }
}
