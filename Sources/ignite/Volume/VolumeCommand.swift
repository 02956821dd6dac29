internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine

struct VolumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "volume", abstract: "Manage volumes: disks that outlive their VMs.",
    subcommands: [VolumeCreate.self, VolumeList.self, VolumeInspect.self, VolumeRemove.self, VolumePrune.self])
}

struct VolumeCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a volume; print its name.",
    discussion: "One of that name that is there serves as well. `ignite run -v NAME:/path` makes what is not there.",
    helpNames: .long)

  @OptionGroup var global: GlobalOptions

  @Option(
    name: [.customShort("s"), .customLong("size")],
    help: ArgumentHelp("Its size, as 10g; what is written takes space.", valueName: "size"))
  var size: String?

  @Option(
    name: [.customShort("l"), .customLong("label")], parsing: .singleValue,
    help: ArgumentHelp("Set a label.", valueName: "KEY[=VALUE]"))
  var labels: [String] = []

  @Option(
    name: [.customShort("o"), .customLong("opt")], parsing: .singleValue,
    help: ArgumentHelp("Docker's way to say it: size=10g.", valueName: "NAME=VALUE"))
  var options: [String] = []

  @Option(
    name: [.customShort("d"), .customLong("driver")],
    help: ArgumentHelp("Accepted for docker's sake: local.", visibility: .hidden))
  var driver: String = "local"

  @Argument(help: "Its name; one is made up when it is absent.")
  var name: String?

  func run() async throws {
    guard driver == "local" else {
      throw EngineError(
        .invalidArgument, "there is no volume driver \"\(driver)\"", advice: "leave -d out; volumes are local disks")
    }
    var size = size
    for option in options {
      guard option.hasPrefix("size=") else {
        throw EngineError(.invalidArgument, "-o \(option) is not possible", advice: "write -o size=10g")
      }
      size = String(option.dropFirst(5))
    }
    let bytes = try size.map { text in
      guard let size = ByteQuantity(commandLine: text) else {
        throw EngineError(.invalidArgument, "--size \(text) is no size", advice: "write it as 512m or 10g")
      }
      return size
    }
    let labels = try CreateOptions.labels(labels)
    let volume = try await Interrupts.run { _ in
      try await global.engine().createVolume(name, size: bytes, labels: labels)
    }
    Output.line(volume.metadata.name)
  }
}

struct VolumeList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls", abstract: "List volumes.", aliases: ["list"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print names only.")
  var quiet = false

  @Option(
    name: [.customShort("f"), .customLong("filter")], parsing: .singleValue,
    help: ArgumentHelp("dangling=true|false, name=PART, label=KEY[=VALUE].", valueName: "filter"))
  var filters: [String] = []

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let filter = try VolumeFilter(filters)
    let volumes = try await global.engine().volumes().filter(filter.suits)
    if quiet {
      for volume in volumes { Output.line(volume.volume.metadata.name) }
      return
    }
    if format == .json { return try Output.json(volumes) }
    var table = Table(["NAME", "SIZE", "USED", "VMS", "CREATED"])
    let now = Date()
    for summary in volumes {
      let volume = summary.volume
      table.add([
        volume.metadata.name, volume.spec.size.rounded,
        summary.used.map { ByteQuantity(bytes: UInt64(max(0, $0))).rounded } ?? "missing",
        summary.vms.isEmpty ? "-" : summary.vms.joined(separator: ","),
        Output.span(now.timeIntervalSince(volume.metadata.creationTimestamp)) + " ago",
      ])
    }
    FileHandleOutput.standardOutput.write(table.text())
  }
}

/// The filters of `volume ls`, as docker has them.
struct VolumeFilter {
  private var dangling: Bool?
  private var names: [String] = []
  private var labels = PruneRequest()

  init(_ filters: [String]) throws {
    for filter in filters {
      let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
      switch (parts.first ?? "", parts.count) {
      case ("dangling", 2) where ["true", "1", "false", "0"].contains(parts[1]):
        dangling = parts[1] == "true" || parts[1] == "1"
      case ("name", 2): names.append(parts[1])
      case ("label", 2): labels.labels.append(PruneRequest.Label(parts[1], isExcluded: false))
      default:
        throw EngineError(
          .invalidArgument, "--filter \(filter) is not possible",
          advice: "write dangling=true, name=PART or label=KEY[=VALUE]")
      }
    }
  }

  func suits(_ summary: VolumeSummary) -> Bool {
    (dangling.map { $0 == summary.vms.isEmpty } ?? true)
      && (names.isEmpty || names.contains { summary.volume.metadata.name.contains($0) })
      && labels.suits(summary.volume)
  }
}

struct VolumeInspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print all that is known of volumes, as JSON.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names.", completion: .volumes)
  var volumes: [String]

  func run() async throws {
    let engine = try await global.engine()
    try Output.json(try await volumes.asyncMap { try await engine.volumeSummary($0) })
  }
}

struct VolumeRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rm", abstract: "Remove volumes with all that is on them.", aliases: ["remove"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("f"), .customLong("force")], help: "Those that are not there are no error.")
  var force = false

  @Argument(help: "Names.", completion: .volumes)
  var volumes: [String]

  func run() async throws {
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachQuery(volumes) { name in
        do {
          try await engine.removeVolume(name)
        } catch let error as EngineError where error.code == .notFound && force {
          return name
        }
        return name
      }
    }
  }
}

struct VolumePrune: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune", abstract: "Remove anonymous volumes that no VM has.",
    discussion: "With -a: named ones too. A volume that a VM has, running or not, stays.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("a"), .customLong("all")], help: "Remove named volumes too.")
  var all = false

  @Flag(name: [.customShort("f"), .customLong("force")], help: "Do not ask.")
  var force = false

  @Flag(name: .customLong("dry-run"), help: "Only list what would be removed.")
  var dryRun = false

  @Option(
    name: .customLong("filter"), parsing: .singleValue,
    help: ArgumentHelp("Only what fits: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE].", valueName: "filter"))
  var filters: [String] = []

  func run() async throws {
    var request = try PruneOptions.request(filters: filters)
    request.all = all
    request.dryRun = dryRun
    let wanted = request
    try await Interrupts.run { _ in
      if !force && !dryRun {
        let what = "This will remove all \(all ? "" : "anonymous ")volumes that no VM has, with all that is on them."
        guard try await Confirmation.ask(what, flag: "-f") else { return }
      }
      var report = PruneReport()
      (report.volumes, report.bytes) = try await global.engine().pruneVolumes(wanted)
      PruneText.show(report, dryRun: dryRun)
    }
  }
}
