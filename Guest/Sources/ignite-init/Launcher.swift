import CGuest
import IgniteWire

/// Starts a process as the host asks for it.
struct Launcher {
  /// Docker's limits of open files: soft for programs that walk all descriptors, hard for those that need many.
  private static let softFiles: UInt64 = 1024
  private static let hardFiles: UInt64 = 524_288

  /// The descriptors of a process: its own, and the agent's ends of them.
  struct Wiring {
    /// Input, output, errors of the process.
    var own: [Int32] = []
    var input: Int32 = -1
    var output: Int32 = -1
    var errors: Int32 = -1
    var terminal: Int32 = -1

    func closeOwn() {
      var last: Int32 = -1
      for descriptor in own where descriptor > 2 && descriptor != last {
        close(descriptor)
        last = descriptor
      }
    }

    func closeAll() {
      closeOwn()
      for descriptor in [input, output, errors, terminal] where descriptor >= 0 { close(descriptor) }
    }
  }

  /// Whether the agent is not PID 1 and so has a score of its own, which a child inherits.
  var resetOOM = false

  /// Starts the process on these descriptors; its pid.
  func launch(_ request: ProcessRequest, _ wiring: Wiring) throws(GuestError) -> Int32 {
    guard let program = request.arguments.first, !program.isEmpty else { throw GuestError("no command was given") }
    let identity = try Users.resolve(request.user)
    let environment = Environment.complete(request, home: identity.home)
    let arguments = try CStrings(request.arguments)
    let variables = try CStrings(environment)
    let directory = request.workingDirectory.isEmpty ? Bytes("/".utf8) : request.workingDirectory
    let strings = try CStrings([directory, Environment.searchPath(environment)])

    let spawn = UnsafeMutablePointer<guest_spawn>.allocate(capacity: 1)
    defer { spawn.deallocate() }
    memset(spawn, 0, MemoryLayout<guest_spawn>.size)
    spawn.pointee.arguments = UnsafePointer(arguments.pointer)
    spawn.pointee.environment = UnsafePointer(variables.pointer)
    spawn.pointee.directory = UnsafePointer(strings.pointer[0])
    spawn.pointee.search_path = program.contains(47) ? nil : UnsafePointer(strings.pointer[1])
    spawn.pointee.make_directory = request.isMain ? 1 : 0
    spawn.pointee.descriptors = (wiring.own[0], wiring.own[1], wiring.own[2])
    spawn.pointee.terminal = wiring.terminal >= 0 ? 1 : 0
    spawn.pointee.user = identity.user
    spawn.pointee.group = identity.group
    spawn.pointee.group_count = identity.groups.count
    spawn.pointee.soft_files = Self.softFiles
    spawn.pointee.hard_files = Self.hardFiles
    spawn.pointee.reset_oom = resetOOM ? 1 : 0
    let pid = identity.groups.withUnsafeBufferPointer { groups in
      spawn.pointee.groups = groups.baseAddress
      return guest_spawn(spawn)
    }
    withExtendedLifetime((arguments, variables, strings)) {}
    guard pid > 0 else { throw LaunchFailure.describe(spawn, program: program, directory: directory) }
    return pid
  }

  /// Pipes or a terminal, as the request has it.
  func wire(_ request: ProcessRequest) throws(GuestError) -> Wiring {
    var wiring = Wiring()
    if request.tty {
      var slave: Int32 = -1
      guard guest_open_terminal(&wiring.terminal, &slave, request.size.columns, request.size.rows) == 0 else {
        throw GuestError("open a terminal", errno: guest_errno())
      }
      wiring.own = [slave, slave, slave]
      _ = guest_set_nonblocking(wiring.terminal)
      return wiring
    }
    var failed = false
    func pipe(input: Bool) -> (own: Int32, agent: Int32) {
      var ends: [Int32] = [-1, -1]
      if guest_pipe(&ends) != 0 { failed = true }
      let agent = input ? ends[1] : ends[0]
      if agent >= 0 { _ = guest_set_nonblocking(agent) }
      return (input ? ends[0] : ends[1], agent)
    }
    if request.input {
      let (own, agent) = pipe(input: true)
      wiring.own.append(own)
      wiring.input = agent
    } else {
      wiring.own.append(guest_open("/dev/null", O_RDWR, 0))
    }
    let (output, outputEnd) = pipe(input: false)
    let (errors, errorEnd) = pipe(input: false)
    wiring.own += [output, errors]
    wiring.output = outputEnd
    wiring.errors = errorEnd
    if failed || wiring.own.contains(-1) {
      let error = guest_errno()
      wiring.closeAll()
      throw GuestError("make the process's pipes", errno: error)
    }
    return wiring
  }
}
