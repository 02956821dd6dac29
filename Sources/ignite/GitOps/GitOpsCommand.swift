internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct GitOpsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gitops", abstract: "Look at syncs, and run, stop, and set them back.",
    discussion: "What they are is declared: kinds GitRepository, Directory and Sync. ignited runs them.",
    subcommands: [
      GitOpsStatus.self, GitOpsPlan.self, GitOpsSync.self, GitOpsSuspend.self, GitOpsResume.self, GitOpsHistory.self,
      GitOpsRollback.self, GitOpsTree.self,
    ])
}

struct GitOpsStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Each sync: its source, revision, what is ready, and what holds it back.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names of syncs; none is all.")
  var names: [String] = []

  func run() async throws {
    let controller = Controller(engine: try await global.engine())
    let syncs = try await SyncNames.read(names, controller)
    var table = Table(["SYNC", "SOURCE", "REVISION", "AGE", "READY", "STATUS"])
    var lines: [String] = []
    for object in syncs {
      let status = SyncStatus(object)
      let source = object.sourceTitle
      let ready = try await controller.ready(of: status)
      let since = status.history.first.map { Output.span(Date().timeIntervalSince($0.time)) } ?? ""
      table.add([
        object.metadata.name, source ?? "",
        status.lastAppliedRevision.map(Controller.short) ?? "<none>", since, "\(ready)/\(status.inventory.count)",
        SyncNames.word(object, status),
      ])
      if let said = SyncNames.holding(object, status) { lines.append("\(object.metadata.name): \(said)") }
      guard let source, let (kind, name) = ObjectReference.parts(ofTitle: source) else { continue }
      if let object = try await controller.engine.declared(kind: kind, name: name) {
        let of = SourceStatus(object)
        if let failed = of.failure {
          lines.append("\(object.title): \(failed.message)")
        } else if of.artifact == nil {
          lines.append("\(object.title): it was not looked at yet; does ignited run?")
        }
      } else {
        lines.append("\(object.metadata.name): there is no \(source)")
      }
    }
    FileHandleOutput.standardOutput.write(table.text())
    if !lines.isEmpty { Output.line("") }
    for line in lines { Output.line(Table.printable(line)) }
  }
}

struct GitOpsPlan: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "What a sync would change now.",
    discussion: "Of what has come from its source so far; --fetch looks at that first.")

  @OptionGroup var global: GlobalOptions

  @Flag(help: "Look at the source first.")
  var fetch = false

  @Option(help: ArgumentHelp("Of a revision that is kept, instead of the newest.", valueName: "revision"))
  var revision: String?

  @Argument(help: "The sync's name.")
  var name: String

  func run() async throws {
    try await Interrupts.run { _ in
      let controller = Controller(engine: try await global.engine())
      let object = try await controller.sync(name)
      if fetch, let source = object.sourceTitle { _ = try await controller.look(at: source) }
      let (plan, revision) = try await controller.plan(sync: name, revision: revision)
      Output.line("\(revision)")
      for line in PlanText.lines(plan) { Output.line(line) }
    }
  }
}

struct GitOpsSync: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sync", abstract: "Look at a sync's source, and bring about what it says, at once.",
    discussion: "With a daemon or without one.")

  @OptionGroup var global: GlobalOptions

  @Flag(help: "A revision may delete more than half of the sync's objects.")
  var allowMassDeletion = false

  @Argument(help: "The sync's name.")
  var name: String

  func run() async throws {
    try await Interrupts.run { _ in
      let controller = Controller(engine: try await global.engine())
      let object = try await controller.sync(name)
      if let source = object.sourceTitle {
        try await SyncNames.whileBusy(source) { try await controller.look(at: source) }
      }
      var options = SyncOptions()
      (options.isManual, options.allowsMassDeletion) = (true, allowMassDeletion)
      try await SyncNames.run(name, options, controller)
    }
  }
}

struct GitOpsSuspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "suspend", abstract: "Leave everything of a sync as it is from now on.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names of syncs.")
  var names: [String]

  func run() async throws {
    try await SyncNames.suspend(names, true, try await global.engine())
  }
}

struct GitOpsResume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Go on with a sync that was suspended.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names of syncs.")
  var names: [String]

  func run() async throws {
    try await SyncNames.suspend(names, false, try await global.engine())
  }
}

struct GitOpsHistory: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "The revisions that a sync has applied, the newest first.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "The sync's name.")
  var name: String

  func run() async throws {
    let controller = Controller(engine: try await global.engine())
    var table = Table(["REVISION", "APPLIED", "OBJECTS", "AUTHOR", "SUBJECT"])
    for entry in SyncStatus(try await controller.sync(name)).history {
      table.add([
        Controller.short(entry.revision), Output.span(Date().timeIntervalSince(entry.time)) + " ago",
        "\(entry.objects)",
        entry.author ?? "", entry.subject ?? "",
      ])
    }
    FileHandleOutput.standardOutput.write(table.text())
  }
}

struct GitOpsRollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollback", abstract: "Suspend a sync, and apply an older revision.",
    discussion: "Nothing is written to the repository. Once that is mended: ignite gitops resume NAME.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("The revision, or the first digits of its commit.", valueName: "revision"))
  var to: String

  @Flag(help: "It may delete more than half of the sync's objects.")
  var allowMassDeletion = false

  @Argument(help: "The sync's name.")
  var name: String

  func run() async throws {
    try await Interrupts.run { _ in
      let controller = Controller(engine: try await global.engine())
      // Whether it is there is known before anything is changed.
      _ = try await controller.plan(sync: name, revision: to)
      try await controller.suspend(sync: name, true)
      var options = SyncOptions()
      (options.isManual, options.revision, options.allowsMassDeletion) = (true, to, allowMassDeletion)
      try await SyncNames.run(name, options, controller)
      CommandLineTool.say("\(name) is suspended; once the repository is mended: ignite gitops resume \(name)")
    }
  }
}

struct GitOpsTree: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tree", abstract: "What a sync keeps, and how each of it is.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "The sync's name.")
  var name: String

  func run() async throws {
    let controller = Controller(engine: try await global.engine())
    let object = try await controller.sync(name)
    Output.line("Sync/\(name)")
    let items = try await controller.tree(of: SyncStatus(object))
    for (index, item) in items.enumerated() {
      let isLast = !items[(index + 1)...].contains { $0.depth <= item.depth } || items.count == index + 1
      let indent = String(repeating: "   ", count: item.depth - 1)
      let said = item.readiness.reason.map { ": \($0)" } ?? ""
      Output.line(Table.printable("\(indent)\(isLast ? "└─ " : "├─ ")\(item.title)\(said)"))
    }
  }
}
