internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct StartCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Start VMs that were made or have ended, with the disk that they have.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("a"), .customLong("attach")], help: "Stay, show the output and return the exit status.")
  var attach = false

  @Flag(name: [.customShort("i"), .customLong("interactive")], help: "Connect standard input; implies -a.")
  var interactive = false

  @Flag(help: "Boot the kernel, rather than thaw a template of it.")
  var cold = false

  @Argument(help: "Names or UIDs.", completion: .stoppedVMs)
  var vms: [String]

  func validate() throws {
    if (attach || interactive) && vms.count > 1 { throw ValidationError("only one VM can be attached to") }
  }

  func run() async throws {
    let status = try await Interrupts.run { interrupts in
      let engine = try await global.engine()
      let found = try await vms.asyncMap { try await engine.vm($0) }
      for (query, vm) in zip(vms, found) {
        let stays = attach || interactive
        let started = try await engine.start(
          vm, waitsForClient: stays, size: Terminal.size(), cold: cold, notify: CommandLineTool.say)
        if stays {
          return try await Foreground.join(
            started, engine, interrupts, tty: started.vm.spec.process.tty, interactive: interactive
          ).status
        }
        try await started.running()
        Output.line(query)
      }
      return 0
    }
    throw ExitWith(status: status)
  }
}

extension Array {
  /// Maps in order, one after the other.
  func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
    var result: [Result] = []
    for element in self { result.append(try await transform(element)) }
    return result
  }
}
