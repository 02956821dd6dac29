internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// One run of git, bounded in time, output and the size of what it writes.
///
/// It leads a session of its own, has no capability, no environment and no descriptor but what it is given; its whole process
/// group is killed when its time is over, when it says too much, when the task is cancelled, and when it has ended.
struct GitProcess: Sendable {
  enum Stop: Sendable, Equatable {
    case deadline, output, cancelled
  }

  struct Outcome: Sendable {
    var end: ProcessEnd
    /// Why it was killed, if it was.
    var stop: Stop?
    var output: [UInt8]
    /// The last of what it said on standard error.
    var errors: String

    var succeeded: Bool { stop == nil && end == .exited(0) }
  }

  var executable: String
  var arguments: [String]
  var environment: [String: String]
  var workingDirectory: String
  /// A file that it reads as its standard input; nil is /dev/null.
  var inputFile: String?
  var outputLimit: Int
  /// The most bytes of one file that it may write.
  var fileLimit: Int
  /// How long after the deadline it ends by itself where this process, killed, cannot end it.
  var grace: Duration = .seconds(10)

  private static let errorsKept = 8192
  /// Memory that it may have for itself; a hostile pack or tree meets this limit, not the machine's.
  private static let memory: UInt64 = 1 << 30

  /// - Throws: SystemError where it cannot be started.
  func run(until deadline: ContinuousClock.Instant) async throws(SystemError) -> Outcome {
    let ends = try FileDescriptor.pipe()
    // The write end's closing is the message; `wake` stays here, so that it is open as long as it is waited on.
    let result = await withTaskCancellationHandler {
      await ThreadExecutor.run(name: "ignite-git") {
        Result { () throws(SystemError) in try self.runBlocking(until: deadline, wake: ends.read) }
      }
    } onCancel: {
      ends.write.close()
    }
    return try result.get()
  }

  /// What is executed: git, under timeout(1) where there is one.
  func command(until deadline: ContinuousClock.Instant) -> [String] {
    let net = "/usr/bin/timeout"
    guard access(net, X_OK) == 0 else { return [executable] + arguments }
    let left = min(max(ContinuousClock.now.duration(to: deadline) + grace, .seconds(1)), .seconds(86400))
    return [net, "--signal=KILL", String(left.components.seconds), executable] + arguments
  }

  private func runBlocking(until deadline: ContinuousClock.Instant, wake: FileDescriptor) throws(SystemError) -> Outcome
  {
    let output = try FileDescriptor.pipe()
    let errors = try FileDescriptor.pipe()
    var input: FileDescriptor?
    if let inputFile { input = try FileDescriptor.open(inputFile, O_RDONLY) }
    let command = command(until: deadline)
    let process = try launch(
      LaunchRequest(
        executable: command[0], arguments: command, environment: environment, standardInput: input?.number,
        standardOutput: output.write.number, standardError: errors.write.number,
        newSession: true, workingDirectory: workingDirectory,
        limits: [
          .noCore, .init(resource: Int32(RLIMIT_FSIZE.rawValue), soft: UInt64(fileLimit), hard: UInt64(fileLimit)),
          .init(resource: Int32(RLIMIT_DATA.rawValue), soft: Self.memory, hard: Self.memory),
        ]))
    output.write.close()
    errors.write.close()
    input?.close()

    var said = Said(output: output.read, errors: errors.read)
    var stop: Stop?
    while stop == nil {
      let left = ContinuousClock.now.duration(to: deadline)
      if left <= .zero {
        stop = .deadline
        break
      }
      let ready = said.poll(beside: [process.pollable, wake.number], for: left)
      if ready[1] { stop = .cancelled }
      said.read(outputLimit: outputLimit, errorsKept: Self.errorsKept)
      if said.isTooLong { stop = .output }
      if ready[0] { break }
    }
    // Not reaped yet, so the group's number cannot be another's.
    Glibc.kill(-process.pid, SIGKILL)
    let end = Self.reap(process)
    if stop == nil {
      // What was written before the end is still in the pipes. One that left the group may hold them open: not for long.
      let patience = min(deadline, .now + .seconds(2))
      while !said.hasEnded, !said.isTooLong, .now < patience {
        _ = said.poll(beside: [], for: ContinuousClock.now.duration(to: patience))
        said.read(outputLimit: outputLimit, errorsKept: Self.errorsKept)
      }
      if said.isTooLong { stop = .output }
    }
    return Outcome(end: end, stop: stop, output: said.output, errors: String(decoding: said.errors, as: UTF8.self))
  }

  private static func reap(_ process: LaunchedProcess) -> ProcessEnd {
    while true {
      if let end = process.reap() { return end }
      var entry = pollfd(fd: process.pollable, events: Int16(POLLIN), revents: 0)
      poll(&entry, 1, 1000)
    }
  }

  /// What a process wrote, as it comes.
  private struct Said {
    private let descriptors: [FileDescriptor]
    private var ended = [false, false]
    private var readable = [false, false]
    private(set) var output: [UInt8] = []
    private(set) var errors: [UInt8] = []
    private(set) var isTooLong = false

    var hasEnded: Bool { !ended.contains(false) }

    init(output: FileDescriptor, errors: FileDescriptor) { descriptors = [output, errors] }

    /// Waits; tells which of `others` are ready.
    mutating func poll(beside others: [Int32], for time: Duration) -> [Bool] {
      var entries = descriptors.enumerated().map { index, descriptor in
        pollfd(fd: ended[index] ? -1 : descriptor.number, events: Int16(POLLIN), revents: 0)
      }
      entries += others.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      let parts = min(time, .seconds(3600)).components
      let milliseconds = Int32(clamping: parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000 + 1)
      if Glibc.poll(&entries, nfds_t(entries.count), max(0, milliseconds)) < 0 {
        entries.indices.forEach { entries[$0].revents = 0 }
      }
      readable = [entries[0].revents != 0, entries[1].revents != 0]
      return entries.dropFirst(2).map { $0.revents != 0 }
    }

    mutating func read(outputLimit: Int, errorsKept: Int) {
      for index in descriptors.indices where readable[index] && !ended[index] {
        let (count, bytes) = Self.some(of: descriptors[index])
        if count < 0, errno == EINTR { continue }
        if count <= 0 {
          ended[index] = true
        } else if index == 0 {
          output += bytes
          isTooLong = output.count > outputLimit
        } else {
          errors += bytes
          if errors.count > 2 * errorsKept { errors.removeFirst(errors.count - errorsKept) }
        }
      }
      readable = [false, false]
    }

    private static func some(of descriptor: FileDescriptor) -> (Int, [UInt8]) {
      var count = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, filled in
        count = Glibc.read(descriptor.number, buffer.baseAddress, buffer.count)
        filled = max(0, count)
      }
      return (count, bytes)
    }
  }
}
