internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSupervisor
internal import IgniteSystem

/// Runs an operation on each VM and prints its name as it was given, or what the operation says.
func forEachVM(_ queries: [String], _ engine: Engine, _ operation: (VM) async throws -> String?) async throws {
  try await forEachQuery(queries) { query in try await operation(try await engine.vm(query)) ?? query }
}

/// Runs an operation on each argument and prints what it says; what fails is told, and the others go on.
func forEachQuery(_ queries: [String], _ operation: (String) async throws -> String) async throws {
  var failures = 0
  for query in queries {
    do {
      Output.line(try await operation(query))
    } catch  where !(error is CancellationError) {
      CommandLineTool.say(userMessage(error))
      failures += 1
    }
  }
  if failures > 0 { throw ExitWith(status: 1) }
}

struct StopCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "End VMs: their stop signal, a grace, then the end.")

  @OptionGroup var global: GlobalOptions

  @OptionGroup var ending: EndingOptions

  @Argument(help: "Names or UIDs.", completion: .runningVMs)
  var vms: [String]

  func run() async throws {
    let grace = try ending.grace()
    let number = try ending.signalNumber()
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachVM(vms, engine) { vm in
        try await engine.stop(vm, signal: number, grace: grace)
        return nil
      }
    }
  }
}

struct KillCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill", abstract: "Send a signal to VMs' processes; KILL unless told otherwise.")

  @OptionGroup var global: GlobalOptions

  @Option(name: [.customShort("s"), .customLong("signal")], help: "A signal by name or number.")
  var signal: String = "KILL"

  @Argument(help: "Names or UIDs.", completion: .runningVMs)
  var vms: [String]

  func run() async throws {
    let number = try signalNumber(signal)
    let engine = try await global.engine()
    try await forEachVM(vms, engine) { vm in
      try await engine.kill(vm, signal: number)
      return nil
    }
  }
}

struct RemoveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove VMs with their disks and logs.")

  @OptionGroup var global: GlobalOptions

  @Flag(
    name: [.customShort("f"), .customLong("force")], help: "End those that run; those that are not there are no error.")
  var force = false

  @Flag(
    name: [.customShort("v"), .customLong("volumes")], help: "Remove the volumes that were made for them alone, too.")
  var volumes = false

  @Argument(help: "Names or UIDs.", completion: .vms)
  var vms: [String]

  func run() async throws {
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      var queries = vms
      if force {
        queries = []
        for query in vms {
          do {
            _ = try await engine.vm(query)
            queries.append(query)
          } catch let error as EngineError where error.code == .notFound { continue }
        }
      }
      try await forEachVM(queries, engine) { vm in
        try await engine.remove(vm, force: force, volumes: volumes)
        return nil
      }
    }
  }
}

struct WaitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wait", abstract: "Wait until VMs have ended; print their exit statuses.",
    discussion: "With --condition running, healthy or removed: until they are that; their names are printed then.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("stopped, running, healthy or removed.", valueName: "condition"))
  var condition: String = "stopped"

  @Argument(help: "Names or UIDs.", completion: .runningVMs)
  var vms: [String]

  func run() async throws {
    let condition = try CreateOptions.choice(condition, "--condition", WaitCondition.allCases)
    let engine = try await global.engine()
    try await forEachVM(vms, engine) { vm in
      guard condition == .stopped else {
        try await engine.wait(vm, until: condition)
        return nil
      }
      return String(try await engine.wait(vm).status.exitCode ?? 0)
    }
  }
}

struct InspectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print all that is known of VMs, as JSON.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names or UIDs.", completion: .vms)
  var vms: [String]

  func run() async throws {
    let engine = try await global.engine()
    try Output.json(try await vms.asyncMap { await engine.inspected(try await engine.vm($0)) })
  }
}

struct LogsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Print what a VM's process wrote, on standard output and standard error as it did.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("f"), .customLong("follow")], help: "Go on until the VM ends.")
  var follow = false

  @Option(
    name: [.customShort("n"), .customLong("tail")],
    help: ArgumentHelp("Only the last lines; all is all.", valueName: "lines"))
  var tail: String = "all"

  @Flag(name: [.customShort("t"), .customLong("timestamps")], help: "Begin each line with its time (RFC 3339, UTC).")
  var timestamps = false

  @Option(
    help: ArgumentHelp("Only what was written since then: RFC 3339, or a span as 10m.", valueName: "time"))
  var since: String?

  @Option(help: ArgumentHelp("Only what was written before then.", valueName: "time"))
  var until: String?

  @Flag(help: "What the machine's console said, the kernel's and ignite-init's words among it.")
  var console = false

  @Argument(help: "A name or UID.", completion: .vms)
  var vm: String

  func run() async throws {
    let last = Int(tail)
    guard tail == "all" || (last ?? -1) >= 0 else {
      throw EngineError(.invalidArgument, "-n \(tail) is no number of lines", advice: "write a number, or all")
    }
    guard !console || (!timestamps && since == nil && until == nil) else {
      throw EngineError(
        .invalidArgument, "what a console says has no times: --console goes with -f and -n alone",
        advice: "leave the others out")
    }
    var request = LogRequest(last: last, follow: follow)
    request.since = try since.map { try Self.moment($0, "--since") }
    request.until = try until.map { try Self.moment($0, "--until") }
    let engine = try await global.engine()
    let found = try await engine.vm(vm)
    if console {
      return try await engine.consoleLog(found, request) { FileHandleOutput.standardOutput.write($0) }
    }
    try await engine.logs(found, request) { [timestamps] record in
      let output: FileHandleOutput = record.stream == "stderr" ? .standardError : .standardOutput
      output.write(timestamps ? Array("\(Self.text(record.time)) ".utf8) + record.bytes : record.bytes)
    }
  }

  private static func moment(_ text: String, _ flag: String) throws -> Date {
    guard let date = TimeSpan.moment(text) else {
      throw EngineError(
        .invalidArgument, "\(flag) \(text) is no time", advice: "write it as 10m, 2026-11-25 or 2026-11-25T10:00:00Z")
    }
    return date
  }

  private static func text(_ date: Date) -> String {
    date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}

func signalNumber(_ text: String) throws -> Int32 {
  guard let number = Signals.number(text) else {
    throw EngineError(
      .invalidArgument, "\"\(text)\" is no signal", advice: "write a name as TERM, or a number from 1 to 64")
  }
  return number
}
