internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages

struct CreateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a VM from an image without starting it; print its UID.",
    usage: "ignite create [options] IMAGE [COMMAND [ARGUMENT ...]]", helpNames: .long)

  @OptionGroup var global: GlobalOptions
  @OptionGroup(title: "VM options") var create: CreateOptions
  @OptionGroup(title: "Process options") var process: ProcessOptions

  @Argument(help: ArgumentHelp(ImageNames.sources), completion: .images)
  var image: String

  @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
  var command: [String] = []

  func run() async throws {
    let request = try create.request(image: image, command: command, process: process)
    let uid = try await Interrupts.run { _ in
      let engine = try await global.engine()
      return try await withImportProgress { progress in
        try await engine.create(request, notify: CommandLineTool.say, progress: progress)
      }.metadata.uid
    }
    Output.line(uid)
  }
}
