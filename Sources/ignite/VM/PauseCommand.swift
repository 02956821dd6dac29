internal import ArgumentParser
internal import IgniteEngine

struct PauseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pause", abstract: "Halt running VMs where they are; unpause lets them go on.",
    discussion: "A paused VM keeps its memory and takes no processor. logs works; exec, cp and top are refused.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names or UIDs.", completion: .unpausedVMs)
  var vms: [String]

  func run() async throws {
    let engine = try await global.engine()
    try await forEachVM(vms, engine) { vm in
      try await engine.pause(vm)
      return nil
    }
  }
}

struct UnpauseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpause", abstract: "Let paused VMs go on, their wall clocks set right.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names or UIDs.", completion: .pausedVMs)
  var vms: [String]

  func run() async throws {
    let engine = try await global.engine()
    try await forEachVM(vms, engine) { vm in
      if let warning = try await engine.unpause(vm) { CommandLineTool.say(warning) }
      return nil
    }
  }
}
