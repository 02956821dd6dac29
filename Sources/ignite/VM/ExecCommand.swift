internal import ArgumentParser
internal import IgniteEngine
internal import IgniteSupervisor
internal import IgniteSystem

struct ExecCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exec", abstract: "Run a command in a running VM.",
    usage: "ignite exec [options] VM COMMAND [ARGUMENT ...]")

  @OptionGroup var global: GlobalOptions
  @OptionGroup(title: "Process options") var process: ProcessOptions

  @Flag(
    name: [.customShort("d"), .customLong("detach")],
    help: "Return once the command runs; its output is dropped, and it goes on.")
  var detach = false

  @Argument(help: "A name or UID.", completion: .unpausedVMs)
  var vm: String

  @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
  var command: [String] = []

  func run() async throws {
    guard !command.isEmpty else {
      throw EngineError(
        .invalidArgument, "no command is given", advice: "write it after the VM: ignite exec \(vm) COMMAND")
    }
    guard !detach || !process.interactive else {
      throw EngineError(
        .invalidArgument, "-d and -i contradict each other: nobody is left to type", advice: "leave one of them out")
    }
    try Foreground.checkTerminal(tty: process.tty, interactive: process.interactive)
    var exec = ExecRequest(arguments: command)
    exec.environment = try process.variables()
    exec.workingDirectory = process.workingDirectory
    exec.user = process.user
    exec.tty = process.tty
    exec.input = process.interactive
    exec.size = Terminal.size()
    let request = exec
    let status = try await Interrupts.run { interrupts -> Int32 in
      let engine = try await global.engine()
      let vm = try await engine.vm(vm)
      let loop = try EventLoop(name: "ignite-client")
      defer { loop.stop() }
      let client = try await engine.client(of: vm, loop: loop)
      if detach {
        try await client.launch(try engine.processRequest(request, in: vm))
        await client.close()
        return 0
      }
      let session = try await client.exec(
        try engine.processRequest(request, in: vm), Foreground.streams(interactive: process.interactive))
      CrashPoint.pass(.execAsked)
      Foreground.redirect(interrupts, to: session, tty: process.tty)
      return try await Foreground.wait(for: session, tty: process.tty, interactive: process.interactive)
    }
    throw ExitWith(status: status)
  }
}
