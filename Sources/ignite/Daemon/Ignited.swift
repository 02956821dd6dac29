internal import ArgumentParser

/// The root command of the program as `ignited`.
struct Ignited: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ignited",
    abstract: "Ignite's daemon: keeps the state of VMs true, and serves health and metrics.",
    version: "ignited version \(Ignite.version)",
    subcommands: [DaemonCommand.self, GitOpsDaemonCommand.self],
    defaultSubcommand: DaemonCommand.self)
}
