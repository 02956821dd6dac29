internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct DiffCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "List the files that a running VM has added (A), changed (C) or deleted (D).",
    discussion:
      "Over its image; volumes are not looked into. A file that was written to has changed, whatever is in it.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  @Argument(help: "A name or UID.", completion: .unpausedVMs)
  var vm: String

  func run() async throws {
    let format = try ListFormat(checking: format)
    let engine = try await global.engine()
    let changes = try await engine.changes(of: try await engine.vm(vm))
    if format == .json { return try Output.json(changes) }
    // A name of the guest's cannot drive the terminal.
    for change in changes { Output.line("\(change.kind.rawValue) \(Table.printable(change.path))") }
  }
}
