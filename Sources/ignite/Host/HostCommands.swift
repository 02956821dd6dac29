internal import ArgumentParser
internal import IgniteEngine
internal import IgniteHypervisor
internal import IgniteSystem

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

  func run() { Output.line("ignite version \(Ignite.version)") }
}

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Say what this machine can and cannot do, and how to mend each thing.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("table or json.", valueName: "format"))
  var format: String = "table"

  @Flag(
    help:
      "Mend what can be mended: keep a damaged database aside; take back what no object accounts for, as `ignite gc` does."
  )
  var fix = false

  func run() async throws {
    let format = try ListFormat(checking: format)
    if fix {
      if let folder = try await Engine.setDamagedStateAside(try global.paths()) {
        CommandLineTool.say(
          "the database and the files of its VMs and volumes are kept in \(folder); a new one is begun")
      }
      for leftover in try await global.engine().collectGarbage(dryRun: false) {
        CommandLineTool.say("taken back: \(leftover.kind.rawValue) \(leftover.name) (\(leftover.detail))")
      }
    }
    let checks = try await global.engine().doctor()
    switch format {
    case .json: try Output.json(checks)
    case .table:
      for check in checks {
        let mark =
          switch check.status {
          case .ok: "ok  "
          case .warning: "warn"
          case .failed: "FAIL"
          }
        Output.line("\(mark)  \(check.name): \(check.detail)")
        if let advice = check.advice { Output.line("      -> \(advice)") }
      }
    }
    if checks.contains(where: { $0.status == .failed }) { throw ExitWith(status: 1) }
  }
}
