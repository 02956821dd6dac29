internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine

struct TemplateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "template", abstract: "Manage templates: kernels booted and frozen, which VMs start from.",
    subcommands: [
      TemplateList.self, TemplateBuild.self, TemplateFill.self, TemplateRemove.self, TemplatePrune.self,
    ])
}

struct TemplateList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls", abstract: "List templates, the least recently used first.", aliases: ["list"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print keys only.")
  var quiet = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let templates = try await global.engine().templateSummaries()
    if quiet {
      for template in templates { Output.line(String(template.key.prefix(12))) }
      return
    }
    if format == .json { return try Output.json(templates) }
    var table = Table([
      "KEY", "KERNEL", "CPUS", "MEMORY", "SIZE", "CREATED", "LAST USED", "KEEPER", "CLONES", "SPARES", "STATE",
    ])
    let now = Date()
    for template in templates {
      table.add([
        String(template.key.prefix(12)), template.kernel, "\(template.cpus)",
        ByteQuantity(bytes: template.memory).rounded, ByteQuantity(bytes: template.size).rounded,
        Output.span(now.timeIntervalSince(template.created)) + " ago",
        Output.span(now.timeIntervalSince(template.lastUsed)) + " ago", template.keeper.map { "\($0)" } ?? "-",
        template.clones.map { "\($0)" } ?? "-", "\(template.spares)", template.unusable ?? "ready",
      ])
    }
    FileHandleOutput.standardOutput.write(table.text())
  }
}

struct TemplateRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rm", abstract: "Remove templates; VMs that were started from them go on.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Keys or their first digits.", completion: .templates)
  var templates: [String]

  func run() async throws {
    let engine = try await global.engine()
    try await forEachQuery(templates) { query in
      _ = try await engine.removeTemplate(query)
      return query
    }
  }
}

struct TemplatePrune: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove templates that no VM can start from any more.",
    discussion: "With -a: all of them. VMs that were started from them go on.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: .shortAndLong, help: "Remove those that VMs can start from too.")
  var all = false

  @Flag(name: .shortAndLong, help: "Do not ask.")
  var force = false

  @Flag(help: "Tell what would be removed, and remove nothing.")
  var dryRun = false

  @Option(
    name: .customLong("filter"), parsing: .singleValue,
    help: ArgumentHelp("Only those made before: until=TIME.", valueName: "filter"))
  var filters: [String] = []

  func run() async throws {
    let until = try until()
    try await Interrupts.run { _ in
      if !force && !dryRun {
        let what =
          all ? "This will remove all templates." : "This will remove all templates that no VM can start from any more."
        guard try await Confirmation.ask(what, flag: "-f") else { return }
      }
      var report = PruneReport()
      report.templates = try await global.engine().pruneTemplates(all: all, until: until, dryRun: dryRun)
      report.bytes = report.templates.reduce(0) { $0 + Int64(clamping: $1.size) }
      PruneText.show(report, dryRun: dryRun)
    }
  }

  /// The earliest moment that the filters name; nil without one.
  private func until() throws -> Date? {
    try filters.map { filter in
      let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, parts[0] == "until" else {
        throw EngineError(.invalidArgument, "--filter \(filter) is not possible", advice: "write until=TIME")
      }
      return try ImageFilter.moment(parts[1])
    }.min()
  }
}
