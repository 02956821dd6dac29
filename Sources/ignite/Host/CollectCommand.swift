internal import ArgumentParser
internal import IgniteControl
internal import IgniteEngine

struct CollectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc", abstract: "Take back what no VM, image or kernel accounts for.",
    discussion: """
      What is left where a command, a supervisor or the host died: directories, processes, locks, control groups, user \
      ids, files of imports. VMs whose supervisor was lost get another one, and deletions of objects that were cut short are finished.
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(help: "Tell what would be taken back, and take nothing.")
  var dryRun = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let leftovers = try await Interrupts.run { _ in
      let engine = try await global.engine()
      if !dryRun { try await Controller(engine: engine).finishRemovals() }
      return try await engine.collectGarbage(dryRun: dryRun)
    }
    if format == .json { return try Output.json(leftovers) }
    guard !leftovers.isEmpty else { return }
    var table = Table(["TYPE", "NAME", "WHAT"])
    for leftover in leftovers { table.add([leftover.kind.rawValue, leftover.name, leftover.detail]) }
    FileHandleOutput.standardOutput.write(table.text())
  }
}
