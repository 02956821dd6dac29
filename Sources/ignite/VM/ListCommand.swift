internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine

struct ListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ps", abstract: "List VMs.", aliases: ["ls"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("a"), .customLong("all")], help: "Show VMs that do not run, too.")
  var all = false

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print UIDs only.")
  var quiet = false

  @Flag(name: .customLong("no-trunc"), help: "Print whole UIDs.")
  var whole = false

  @Option(
    name: [.customShort("f"), .customLong("filter")], parsing: .singleValue,
    help: ArgumentHelp("Only what fits: status=STATUS, name=PART, label=KEY[=VALUE].", valueName: "filter"))
  var filters: [String] = []

  @Option(help: ArgumentHelp("table or json.", valueName: "format"))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let filter = try ListFilter(filters)
    let vms = try await global.engine().vms().filter {
      (all || filter.namesStatus || $0.status.phase.isActive) && filter.suits($0)
    }
    if quiet {
      for vm in vms { Output.line(whole ? vm.metadata.uid : vm.metadata.shortUID) }
      return
    }
    switch format {
    case .json: try Output.json(vms)
    case .table:
      var table = Table(["VM ID", "IMAGE", "CREATED", "STATUS", "PORTS", "NAME"])
      let now = Date()
      for vm in vms.reversed() {
        table.add([
          whole ? vm.metadata.uid : vm.metadata.shortUID, ImageNames.familiar(vm.spec.image.oci),
          Output.span(now.timeIntervalSince(vm.metadata.creationTimestamp)) + " ago", vm.status.text(at: now),
          vm.status.phase.isActive ? vm.spec.network.ports.map(\.text).joined(separator: ", ") : "", vm.metadata.name,
        ])
      }
      FileHandleOutput.standardOutput.write(table.text())
    }
  }
}

extension VMSpec.Port {
  /// As docker prints it: `0.0.0.0:8080->80/tcp`.
  var text: String { "\(address):\(host)->\(vm)/\(`protocol`.lowercased())" }
}

extension VMStatus {
  /// As docker prints it: `Up 5 minutes`, `Exited (0) 2 hours ago`.
  func text(at now: Date) -> String {
    func ago(_ date: Date?) -> String { date.map { " \(Output.span(now.timeIntervalSince($0))) ago" } ?? "" }
    var up: String {
      "Up" + (startedAt.map { " \(Output.span(now.timeIntervalSince($0)))" } ?? "")
        + (Engine.isNothing(hypervisor: hypervisor) ? " (\(hypervisor ?? ""))" : "")
    }
    switch phase {
    case .running:
      return up + (health.map { $0 == "starting" ? " (health: starting)" : " (\($0))" } ?? "")
    case .paused: return up + " (Paused)"
    case .restarting: return "Restarting (\(exitCode ?? 0))" + ago(finishedAt)
    case .stopped: return "Exited (\(exitCode ?? 0))" + ago(finishedAt)
    case .failed: return "Failed (\(message ?? "no reason known"))"
    case .created, .starting, .removing: return phase.rawValue
    }
  }
}

extension VMPhase {
  /// As lists of objects show it: what runs without a machine says so.
  func text(hypervisor: String?) -> String {
    isActive && Engine.isNothing(hypervisor: hypervisor) ? "\(rawValue) (\(hypervisor ?? ""))" : rawValue
  }
}
