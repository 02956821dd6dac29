internal import ArgumentParser
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine

struct StatsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Show what running VMs take, again and again.",
    discussion: """
      CPU % is of one processor of the host, emulation included. MEM is what the guest uses of what it was given, HOST MEM \
      what hypervisor and supervisor have resident on the host.
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(name: .customLong("no-stream"), help: "Once only.")
  var once = false

  @Flag(name: .customLong("no-trunc"), help: "Print whole UIDs.")
  var whole = false

  @Option(
    help: ArgumentHelp("table or json, a line each time.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  @Argument(help: "Names or UIDs; all that run when absent.", completion: .runningVMs)
  var vms: [String] = []

  func run() async throws {
    let format = try ListFormat(checking: format)
    let engine = try await global.engine()
    repeat {
      let wanted = vms.isEmpty ? try await engine.vms() : try await vms.asyncMap { try await engine.vm($0) }
      if let stopped = wanted.first(where: { !vms.isEmpty && !$0.status.phase.isActive }) {
        throw EngineError(
          .wrongState, "the VM \"\(stopped.metadata.name)\" is not running",
          advice: "start it: ignite start \(stopped.metadata.name)")
      }
      let statistics = try await engine.statistics(of: wanted)
      if format == .json {
        try Output.json(statistics)
      } else {
        // The screen is written anew where there is one.
        if !once && Terminal.isTerminal(1) { FileHandleOutput.standardOutput.write(Array("\u{1b}[H\u{1b}[2J".utf8)) }
        FileHandleOutput.standardOutput.write(table(statistics))
      }
    } while !once
  }

  private func table(_ statistics: [VMStatistics]) -> String {
    var table = Table([
      "VM ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "HOST MEM", "NET I/O", "BLOCK I/O", "PIDS",
    ])
    for vm in statistics {
      let guest = vm.guest
      func pair(_ first: UInt64?, _ second: UInt64?) -> String {
        guard let first, let second else { return "--" }
        return "\(Self.size(first)) / \(Self.size(second))"
      }
      table.add([
        whole ? vm.uid : String(vm.uid.prefix(12)), vm.name, Self.percent(vm.cpu), pair(guest?.memoryUsed, vm.memory),
        guest.map { Self.percent(Double($0.memoryUsed) / Double(max(1, vm.memory)) * 100) } ?? "--",
        Self.size(vm.hostMemory), pair(guest?.received, guest?.sent), pair(guest?.read, guest?.written),
        guest.map { "\($0.processes)" } ?? "--",
      ])
    }
    return table.text()
  }

  private static func size(_ bytes: UInt64) -> String { ByteQuantity(bytes: bytes).rounded }

  /// Two digits after the point.
  private static func percent(_ value: Double) -> String {
    let hundredths = Int(min(max(0, value), 1e9) * 100)
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)%"
  }
}
