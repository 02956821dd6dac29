internal import ArgumentParser
internal import IgniteControl
internal import IgniteEngine

struct DaemonCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "daemon", abstract: "Serve until SIGTERM or SIGINT; SIGHUP reads the configuration again.",
    discussion: """
      Health and metrics are served over HTTP at the Unix socket ignited.sock in the run directory, or at the one that a \
      service manager passes. VMs need no daemon, and go on when it ends.
      """)

  @OptionGroup var options: DaemonOptions

  @Option(
    help: ArgumentHelp(
      "A directory whose manifests are brought about as they change; \"\" is none. Absent: /etc/firecracker/manifests, once it is there, as root with the usual data directory.",
      valueName: "directory"), completion: .directory)
  var manifests: String?

  func run() async throws {
    if let manifests, !manifests.isEmpty, !manifests.hasPrefix("/") {
      throw EngineError(
        .invalidArgument, "--manifests \(manifests) is not absolute", advice: "write a path that begins with /")
    }
    let usual = try options.global.paths().isSystem ? Controller.usualManifests : ""
    try await options.serve(manifests: manifests ?? usual, isAwaited: manifests == nil)
  }
}
