internal import ArgumentParser
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct DiffCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract:
      "List the files that a running VM has added (A), changed (C) or deleted (D); with -f what applying manifests would change.",
    discussion: """
      Of a VM, over its image; volumes are not looked into. A file that was written to has changed, whatever is in it.

      With -f, objects as they are beside what apply would make of them, by `diff -u`, or the program that IGNITE_EXTERNAL_DIFF or \
      KUBECTL_EXTERNAL_DIFF names. The status is 0 where nothing differs, 1 where something does, and more after an error.
      """)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles

  @Option(help: ArgumentHelp("Of a VM: table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String?

  @Argument(help: "A name or UID.", completion: .unpausedVMs)
  var vm: String?

  /// Whether the program's arguments ask for manifests to be compared, and not for a VM's files.
  static func comparesManifests(_ arguments: [String]) -> Bool {
    arguments.first { !$0.hasPrefix("-") } == configuration.commandName
      && arguments.contains { $0.hasPrefix("-f") || $0.hasPrefix("--filename") }
  }

  func validate() throws {
    if manifests.files.isEmpty == (vm == nil) {
      throw ValidationError("name a VM, or manifests with -f\(vm == nil ? "" : ", and not both")")
    }
    if vm == nil, format != nil { throw ValidationError("--format is of a VM's files") }
  }

  func run() async throws {
    let format = try ListFormat(checking: format ?? "table")
    if let vm { return try await list(vm, format) }
    try await Interrupts.run { _ in try await compare() }
  }

  private func list(_ vm: String, _ format: ListFormat) async throws {
    let engine = try await global.engine()
    let changes = try await engine.changes(of: try await engine.vm(vm))
    if format == .json { return try Output.json(changes) }
    // A name of the guest's cannot drive the terminal.
    for change in changes { Output.line("\(change.kind.rawValue) \(Table.printable(change.path))") }
  }

  private func compare() async throws {
    let read = try await manifests.readTelling()
    let found = try await Controller(engine: try await global.engine()).differences(read)
    for remark in ManifestDiff.remarks(found) { CommandLineTool.say(remark) }
    let status = found.isEmpty ? 0 : try await ManifestDiff.show(found)
    if status != 0 { throw ExitWith(status: status) }
  }
}
