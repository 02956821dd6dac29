internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteOCI
internal import IgniteSupervisor
internal import IgniteWire

/// Decides what a VM runs, from its spec and what its image says (OCI image specification, config.md; docker run).
struct ProcessPlanner {
  let spec: VMSpec
  let image: ImageConfig.Process
  let hostname: String

  static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  static let inits = ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd"]
  private static let shells: Set<String> = ["sh", "ash", "bash", "dash", "ksh", "zsh"]

  /// Whether nobody has said what is to run but the image, and that only a shell, which with neither input nor terminal
  /// would end at once.
  static func saysBareShell(_ process: VMSpec.Process, _ image: ImageConfig.Process) -> Bool {
    guard process.boot == .auto, process.command == nil, process.args == nil, !process.stdin, !process.tty,
      image.entrypoint?.isEmpty != false, let command = image.command, command.count == 1
    else { return false }
    guard let name = command[0].split(separator: "/").last else { return false }
    return shells.contains(String(name))
  }

  func process(size: TerminalSize = TerminalSize(columns: 80, rows: 24)) throws -> SpawnPlan.Process {
    let arguments = self.arguments
    let machine = try isMachine(arguments)
    guard machine || !arguments.isEmpty else {
      throw EngineError(
        .invalidArgument, "the image \(spec.image.oci) says no command to run",
        advice: "give one: ignite run IMAGE COMMAND")
    }
    return SpawnPlan.Process(
      arguments: machine ? initArguments : arguments, environment: variables,
      workingDirectory: spec.process.workingDir ?? image.workingDirectory, user: spec.process.user ?? image.user,
      tty: spec.process.tty, input: spec.process.stdin, machine: machine, size: size)
  }

  /// Entrypoint and arguments. A given entrypoint drops the image's arguments, as docker does.
  private var arguments: [String] {
    if let command = spec.process.command { return command + (spec.process.args ?? []) }
    return (image.entrypoint ?? []) + (spec.process.args ?? image.command ?? [])
  }

  /// A machine's PID 1: what the user named, or the image where it names an init, or the usual one.
  private var initArguments: [String] {
    let isGiven = spec.process.command?.isEmpty == false || spec.process.args?.isEmpty == false
    return isGiven || arguments.first.map(Self.inits.contains) == true ? arguments : ["/sbin/init"]
  }

  private func isMachine(_ arguments: [String]) throws -> Bool {
    switch spec.process.boot {
    case .process: false
    case .machine: true
    case .auto:
      arguments.isEmpty || (arguments.count == 1 && Self.inits.contains(arguments[0]))
    }
  }

  /// The image's variables, the spec's over them; PATH where neither sets it, TERM with a terminal.
  private var variables: [String] {
    var result = image.environment
    func set(_ variable: String) {
      let name = variable.prefix { $0 != "=" } + "="
      result.removeAll { $0.hasPrefix(name) }
      result.append(variable)
    }
    if !result.contains(where: { $0.hasPrefix("PATH=") }) { result.insert("PATH=\(Self.defaultPath)", at: 0) }
    if !result.contains(where: { $0.hasPrefix("HOSTNAME=") }) { result.append("HOSTNAME=\(hostname)") }
    if spec.process.tty && !result.contains(where: { $0.hasPrefix("TERM=") }) { result.append("TERM=xterm") }
    for variable in spec.process.env { set(variable) }
    return result
  }

  /// The image's stop signal by name or number; SIGTERM where it says none, or nothing that is known.
  var stopSignal: Int32 { Signals.number(spec.stopSignal ?? image.stopSignal) ?? SIGTERM }
}

/// Signals by name, as docker spells them: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
public enum Signals {
  private static let names: [String: Int32] = [
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
    "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
    "IO": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
  ]

  /// The number on x86-64 Linux, 1 to 64; nil for what is no signal.
  public static func number(_ text: String) -> Int32? {
    if let number = Int32(text) { return (1...64).contains(number) ? number : nil }
    var name = text.uppercased()
    if name.hasPrefix("SIG") { name.removeFirst(3) }
    if let number = names[name] { return number }
    for (base, sign) in [("RTMIN+", Int32(1)), ("RTMAX-", Int32(-1))] where name.hasPrefix(base) {
      guard let offset = Int32(name.dropFirst(base.count)), (0...30).contains(offset) else { return nil }
      return (sign > 0 ? 34 : 64) + sign * offset
    }
    return nil
  }
}
