internal import ArgumentParser
internal import IgniteEngine

struct RenameCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rename", abstract: "Give a VM another name; its host name stays.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "A name or UID.", completion: .vms)
  var vm: String

  @Argument(help: ArgumentHelp("The new name.", valueName: "new-name"))
  var name: String

  func run() async throws {
    let engine = try await global.engine()
    try await engine.setName(of: try await engine.vm(vm), to: name)
  }
}
