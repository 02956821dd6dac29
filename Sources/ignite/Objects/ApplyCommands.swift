internal import ArgumentParser
internal import Glibc
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteImages
internal import IgniteSystem

struct PlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show what applying manifests would create, change and replace.",
    discussion: """
      Nothing is changed, and no image fetched. A VM's image, machine and process cannot be changed in place: such a VM is \
      replaced where its updatePolicy is Replace, and shown as pending where it is not.
      """)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles
  @OptionGroup var inventory: InventoryOptions

  @Option(
    help: ArgumentHelp("Save the plan, for `ignite apply FILE` to do exactly that.", valueName: "file"),
    completion: .file())
  var out: String?

  @Option(
    name: [.customShort("o"), .customLong("output")], help: ArgumentHelp("table or json.", valueName: "format"),
    completion: .list(["table", "json"]))
  var format: String = "table"

  @Flag(help: "Exit with 0 where nothing would change, with 2 where something would.")
  var detailedExitcode = false

  func run() async throws {
    let format = try ListFormat(checking: format)
    let plan = try await Interrupts.run { _ in
      let read = try await manifests.readTelling()
      let plan = try await Controller(engine: try await global.engine()).plan(
        read, inventory: try inventory.name(), prunes: inventory.prune)
      if let out { try await SavedPlan(plan: plan, manifests: read, inventory: inventory).write(out) }
      return plan
    }
    if format == .json { try Output.json(plan) } else { for line in PlanText.lines(plan) { Output.line(line) } }
    if detailedExitcode, !plan.isEmpty { throw ExitWith(status: 2) }
  }
}

/// The option of what asks first.
struct Agreement: ParsableArguments {
  @Flag(name: [.customShort("y"), .customLong("yes")], help: "Agreed: do not ask.")
  var yes = false
}

/// The options of what deletes that is named no more.
struct InventoryOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The set that the objects are in from now on, for --prune to know what is missing.", valueName: "name"))
  var inventory: String?

  @Flag(help: "Delete objects of the inventory that no manifest names any more.")
  var prune = false

  func name() throws -> String? {
    guard let inventory else {
      if prune {
        throw EngineError(
          .invalidArgument, "--prune needs to know of which objects", advice: "name their set: --inventory NAME")
      }
      return nil
    }
    if let problem = ObjectName.problem(with: inventory) {
      throw EngineError(.invalidArgument, "--inventory \(inventory) cannot be taken: \(problem)")
    }
    return inventory
  }
}

/// The options of what waits.
struct WaitOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How long to wait until everything is ready: 90s, 5m. Else as long as it takes.", valueName: "time"))
  var timeout: String?

  func duration() throws -> Duration? {
    guard let timeout else { return nil }
    guard let span = ManifestReader.milliseconds(timeout) else {
      throw EngineError(.invalidArgument, "--timeout \(timeout) is no time", advice: "write 90s, or 5m")
    }
    return .milliseconds(span)
  }
}

/// What `apply`, `delete`, `up` and `down` share: a plan is shown, agreed to and carried out.
enum PlanRun {
  /// - Parameter exactly: what was read and agreed to is done, or nothing; so also where somebody is asked.
  static func run(
    _ plan: ObjectPlan, _ manifests: [Manifest], _ controller: Controller, agreed: Bool, exactly: Bool = false
  ) async throws {
    try await run(plan, agreed: agreed, verb: "Apply") {
      try await controller.apply(plan, manifests, exactly: exactly || !agreed, progress: report)
    }
  }

  /// - Parameter body: carries it out, and says what was.
  static func run(
    _ plan: ObjectPlan, agreed: Bool, verb: String, _ body: () async throws -> ObjectPlan
  ) async throws {
    for line in PlanText.lines(plan) { Output.line(line) }
    var done = plan
    if plan.hasWork {
      try await agree(agreed, verb)
      done = try await body()
    }
    // Never in silence: the objects are not all as their manifests say.
    if done.count(.pending) > 0 { throw ExitWith(status: 1) }
  }

  static let report: Controller.Report = { progress in
    switch progress {
    case .began(let change): Output.line("\(change.title): \(doing(change.action)) …")
    case .done(let change): Output.line("\(change.title): \(done(change.action))")
    case .failed(let change, let reason): Output.line("\(change.title): failed: \(Table.printable(reason))")
    case .waiting(let title, let reason): Output.line("\(title): waiting: \(Table.printable(reason))")
    case .notice(let text): CommandLineTool.say(text)
    case .image, .kernel: break
    }
  }

  private static func agree(_ agreed: Bool, _ verb: String) async throws {
    if agreed { return }
    guard isatty(0) == 1, isatty(1) == 1 else {
      throw EngineError(
        .invalidArgument, "nothing was done: there is no terminal to ask at", advice: "agree beforehand: --yes")
    }
    FileHandleOutput.standardOutput.write("\(verb) these objects? Only yes is taken for it: ")
    let answer = await ThreadExecutor.run { Swift.readLine() }
    guard answer == "yes" else {
      CommandLineTool.say("nothing was done")
      throw ExitWith(status: 1)
    }
  }

  private static func doing(_ action: PlannedChange.Action) -> String {
    switch action {
    case .create: "creating"
    case .replace: "replacing"
    case .delete: "deleting"
    case .update, .none, .pending: "changing"
    }
  }

  private static func done(_ action: PlannedChange.Action) -> String {
    switch action {
    case .create: "created"
    case .replace: "replaced"
    case .delete: "deleted"
    case .update, .none, .pending: "changed"
    }
  }
}

struct ApplyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Make objects as manifests say: plan, ask, and do it.",
    discussion: """
      Asks on a terminal; elsewhere nothing is done without --yes. A field that a manifest does not name is left as it is, one that it \
      named when it was last applied goes back to its default. The status is 1 where something differs that cannot be changed in place. \
      A plan that was saved (plan --out) is carried out as it is, or, where anything has moved since, not at all.
      """)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles
  @OptionGroup var inventory: InventoryOptions
  @OptionGroup var agreement: Agreement

  @Flag(help: "Wait until everything is ready, too: running and healthy, or having done its work.")
  var wait = false

  @OptionGroup var waiting: WaitOptions

  @Argument(help: "A plan that `plan --out` saved.", completion: .file())
  var plan: String?

  func run() async throws {
    if plan != nil, !manifests.files.isEmpty {
      throw ValidationError("a saved plan has its manifests in it; leave -f out")
    }
    if waiting.timeout != nil, !wait { throw ValidationError("--timeout is of --wait") }
    let timeout = try waiting.duration()
    let set = try inventory.name()
    try await Interrupts.run { _ in
      let controller = Controller(engine: try await global.engine())
      let read: [Manifest]
      if let plan {
        let saved = try await SavedPlan.read(plan)
        read = saved.manifests
        let now = try await controller.plan(read, inventory: saved.inventory, prunes: saved.prune)
        try saved.check(now, file: plan)
        // It was read and agreed to when it was saved.
        try await PlanRun.run(now, read, controller, agreed: true, exactly: true)
      } else {
        read = try await manifests.readTelling()
        let plan = try await controller.plan(read, inventory: set, prunes: inventory.prune)
        try await PlanRun.run(plan, read, controller, agreed: agreement.yes)
      }
      if wait { try await controller.awaitReady(read, timeout: timeout, progress: PlanRun.report) }
    }
  }
}

struct DeleteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete objects, VMs that run among them, and all that belongs to them.",
    discussion: "They are named by their manifests (-f), or as vm/web, app/shop.")

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles
  @OptionGroup var agreement: Agreement

  @Argument(help: "Objects, as vm/web; or a kind, and names behind it: vm web db.")
  var objects: [String] = []

  func run() async throws {
    let titles = try ObjectNames.titles(objects)
    if titles.isEmpty == manifests.files.isEmpty {
      throw ValidationError("name what is to be deleted: manifests with -f, or objects as vm/web")
    }
    try await Interrupts.run { _ in
      let controller = Controller(engine: try await global.engine())
      let plan: ObjectPlan
      if titles.isEmpty {
        plan = try await controller.planRemoval(try await manifests.read())
      } else {
        plan = try await controller.planRemoval(titles: titles)
        for title in titles where !plan.changes.contains(where: { $0.title == title }) {
          throw ObjectNames.absent(title)
        }
      }
      try await PlanRun.run(plan, agreed: agreement.yes, verb: "Delete") {
        try await controller.remove(plan, progress: PlanRun.report)
        return plan
      }
    }
  }
}
