import CGuest
import IgniteWire

/// The image's own init as PID 1, with the agent beside it.
enum MachineMode {
  /// systemd(1): SIGRTMIN+3 halts, SIGRTMIN+4 powers off.
  private static let systemdHalt: Int32 = 37
  private static let systemdPowerOff: Int32 = 38

  /// Asks the image's init to power the machine off, in the way that it understands.
  static func shutDown() {
    // Its name before it has made its directory in /run.
    if File.exists("/run/systemd/system") || File.read("/proc/1/comm", limit: 7)?.elementsEqual("systemd".utf8) == true
    {
      _ = guest_kill(1, systemdPowerOff)
    } else if File.exists("/run/initctl") || File.exists("/dev/initctl") {
      // sysvinit: as Ctrl-Alt-Del, a restart, which ends the machine.
      _ = guest_kill(1, SIGINT)
    } else {
      // busybox: power off.
      _ = guest_kill(1, SIGUSR2)
    }
  }

  /// Signals that mean an end to a process mean one to the machine; the others go to the init as they are.
  static func signal(_ number: Int32) {
    switch number {
    case SIGTERM, systemdHalt: shutDown()
    case SIGKILL: PowerOff.now()
    default: _ = guest_kill(1, number)
    }
  }
}

extension Agent {
  /// Forks: the child serves on as the agent, the parent becomes the image's init.
  func startMachine(_ request: ProcessRequest, _ stream: UInt32) throws(GuestError) {
    guard let program = request.arguments.first, program.first == 47 else {
      throw GuestError("a machine's init needs its full path", code: 127)
    }
    let identity = try Users.resolve([])
    let arguments = try CStrings(request.arguments)
    var environment = Environment.complete(request, home: identity.home)
    // Without udev systemd would wait for the console's device, which nobody tells it of, before it calls its boot done.
    if !File.exists("/lib/systemd/systemd-udevd"), !File.exists("/usr/lib/systemd/systemd-udevd") {
      environment.append(Bytes("SYSTEMD_GETTY_AUTO=0".utf8))
    }
    let variables = try CStrings(environment)
    var ends: [Int32] = [-1, -1]
    guard guest_pipe(&ends) == 0 else { throw GuestError("make a pipe", errno: guest_errno()) }

    let child = guest_fork()
    guard child >= 0 else { throw GuestError("start the agent's process", errno: guest_errno()) }
    if child > 0 { become(arguments, variables, report: ends[1]) }

    close(ends[1])
    guest_mark_name(CChar(bitPattern: UInt8(ascii: "@")))
    loop.discard()
    loop = EventLoop()
    watchPort()
    watchMounts()
    port.readable = true
    launcher.resetOOM = true
    File.write("/proc/self/oom_score_adj", Bytes("-1000".utf8), flags: 0)
    var error: Int32 = 0
    let got = withUnsafeMutableBytes(of: &error) { read(ends[0], $0.baseAddress, $0.count) }
    close(ends[0])
    if got > 0 {
      throw GuestError("exec: \"" + text(program) + "\"", errno: error, code: error == ENOENT ? 127 : 126)
    }
    isMachine = true
    lastSerial += 1
    processes.append(
      GuestProcess(
        serial: lastSerial, stream: stream, isMain: true, pid: 1, terminal: -1,
        input: InputChannel(descriptor: -1, terminal: false), outputs: []))
    respond(stream, Response(value: 1))
  }

  /// systemd's last program makes the root read-only. The writable disk below it, of which the init knows nothing,
  /// is then made so too, and its file system is clean. systemd spares this process until then, but does not wait for it:
  /// hence the priority.
  private func watchMounts() {
    mounts = guest_open("/proc/self/mountinfo", O_RDONLY, 0)
    _ = guest_run_first()
    if mounts >= 0 { loop.watch(mounts, events: guest_event_urgent, role: .mounts) }
  }

  func mountsChanged() {
    guard isMachine, guest_is_read_only("/") != 0,
      File.read("/proc/1/comm", limit: 16)?.starts(with: "systemd-shutdow".utf8) == true
    else { return }
    // What follows changes the table too.
    close(mounts)
    PowerOff.makeReadOnly()
  }

  /// Becomes the image's init. Where that fails the agent is told, and this process waits for its end.
  private func become(_ arguments: CStrings, _ variables: CStrings, report: Int32) -> Never {
    _ = chdir("/")
    umask(0o022)
    // As the kernel gives them to its first process.
    guest_limit_files(1024, 4096)
    if let program = arguments.pointer[0] {
      _ = guest_become(program, arguments.pointer, variables.pointer)
    }
    var error = guest_errno()
    _ = withUnsafeBytes(of: &error) { write(report, $0.baseAddress, $0.count) }
    close(report)
    var code: Int32 = 0
    var signal: Int32 = 0
    while guest_reap(&code, &signal) >= 0 { guest_sleep(10_000_000) }
    PowerOff.restart()
  }
}
