internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

struct RestartCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restart", abstract: "End VMs as stop does, and start them again with the disk that they have.")

  @OptionGroup var global: GlobalOptions
  @OptionGroup var ending: EndingOptions

  @Argument(help: "Names or UIDs.", completion: .vms)
  var vms: [String]

  func run() async throws {
    let grace = try ending.grace()
    let signal = try ending.signalNumber()
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachVM(vms, engine) { vm in
        try await engine.stop(vm, signal: signal, grace: grace)
        let started = try await engine.start(
          try await engine.vm(vm.metadata.uid), waitsForClient: false, size: Terminal.size(),
          notify: CommandLineTool.say)
        try await started.running()
        return nil
      }
    }
  }
}

/// How a VM is asked to end; shared by `stop` and `restart`.
struct EndingOptions: ParsableArguments {
  @Option(
    name: [.customShort("t"), .customLong("time"), .customLong("timeout")],
    help: ArgumentHelp("Seconds of grace; 10 for a process, 90 for a machine.", valueName: "seconds"))
  var time: Int?

  @Option(name: [.customShort("s"), .customLong("signal")], help: "The signal, in place of the image's.")
  var signal: String?

  func grace() throws -> Duration? {
    try time.map { .seconds(try Self.checked($0, "-t")) }
  }

  static func checked(_ seconds: Int, _ flag: String) throws -> Int {
    guard (0...86_400).contains(seconds) else {
      throw EngineError(.invalidArgument, "\(flag) \(seconds) is not possible", advice: "give seconds from 0 to 86400")
    }
    return seconds
  }

  /// 0 for the image's own.
  func signalNumber() throws -> Int32 { try signal.map(ignite.signalNumber) ?? 0 }
}
