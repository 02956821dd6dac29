internal import ArgumentParser
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteSupervisor
internal import IgniteSystem

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Make a VM from an image and run a command in it.",
    usage: "ignite run [options] IMAGE [COMMAND [ARGUMENT ...]]",
    discussion: """
      The command's output, standard error and exit status are this command's own. 125 is a failure of ignite's, 126 a \
      command that cannot be executed, 127 one that is not in the image.
      """,
    helpNames: .long)

  @OptionGroup var global: GlobalOptions
  @OptionGroup(title: "VM options") var create: CreateOptions
  @OptionGroup(title: "Process options") var process: ProcessOptions

  @Flag(
    name: [.customShort("d"), .customLong("detach")], help: "Print the VM's UID once its process runs, and return.")
  var detach = false

  @Flag(help: "Tell on standard error where the time to the first output went, in milliseconds.")
  var timings = false

  @Argument(help: ArgumentHelp(ImageNames.sources), completion: .images)
  var image: String

  @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
  var command: [String] = []

  func run() async throws {
    if image == "-", process.interactive {
      throw EngineError(
        .invalidArgument, "-i and the image - both want standard input",
        advice: "import the image first: ignite image import - --name NAME")
    }
    if !detach { try Foreground.checkTerminal(tty: process.tty, interactive: process.interactive) }
    let request = try create.request(image: image, command: command, process: process)
    let status = try await Interrupts.run { interrupts in try await run(request, interrupts) }
    throw ExitWith(status: status)
  }

  private func run(_ request: VMRequest, _ interrupts: Interrupts) async throws -> Int32 {
    let engine = try await global.engine()
    let made = try await withImportProgress { progress in
      try await engine.createToStart(request, notify: CommandLineTool.say, progress: progress)
    }
    let vm = made.vm
    do {
      // A machine has no process to stay with; its console is stayed at where that is asked for.
      let stays = try !detach && (process.interactive || process.tty || !engine.isMachine(vm))
      let started = try await engine.start(
        made, waitsForClient: stays, size: Terminal.size(), accelerator: request.accelerator,
        notify: CommandLineTool.say)
      if !stays {
        try await started.running()
        Output.line(vm.metadata.uid)
        if timings { TimingsReport.write() }
        return 0
      }
      return try await foreground(started, engine, interrupts)
    } catch {
      // A VM whose process never ran is of no use to anybody.
      made.abandon()
      await engine.discard(vm)
      throw error
    }
  }

  private func foreground(_ started: StartedVM, _ engine: Engine, _ interrupts: Interrupts) async throws -> Int32 {
    let ending = try await Foreground.join(
      started, engine, interrupts, tty: process.tty, interactive: process.interactive
    ) { error in
      if create.remove { throw error }
      // It ran: what became of it stays to be looked at.
      CommandLineTool.say(userMessage(error))
      return 125
    }
    if timings { TimingsReport.write() }
    if create.remove, !ending.goesOn { await engine.discard(started.vm) }
    return ending.status
  }
}
