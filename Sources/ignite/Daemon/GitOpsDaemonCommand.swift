internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct GitOpsDaemonCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gitops", abstract: "Keep the VMs of a git repository, and nothing else needs to be set up.",
    discussion: """
      A GitRepository, a Sync and, where there are credentials, a Secret are declared under one name, and served as `ignited \
      daemon` does. ignite gitops status tells how that goes.
      """)

  @OptionGroup var options: DaemonOptions

  @Option(help: ArgumentHelp("The branch; the repository's own when absent.", valueName: "branch"))
  var branch: String?

  @Option(help: ArgumentHelp("A directory in it, with all below.", valueName: "directory"))
  var path = "./"

  @Option(help: ArgumentHelp("From look to look, at the repository and at the VMs.", valueName: "time"))
  var interval = "30s"

  @Option(help: ArgumentHelp("For one look.", valueName: "time"))
  var timeout = "1m"

  @Option(help: ArgumentHelp("What the objects are named.", valueName: "name"))
  var name = "gitops"

  @Option(help: ArgumentHelp("A private key for ssh.", valueName: "file"), completion: .file())
  var identityFile: String?

  @Option(
    help: ArgumentHelp("The keys of ssh servers, as known_hosts has them.", valueName: "file"), completion: .file())
  var hostsFile: String?

  @Option(help: ArgumentHelp("A user of https.", valueName: "user"))
  var httpsUsername: String?

  @Option(help: ArgumentHelp("A file with the user's password, or a token.", valueName: "file"), completion: .file())
  var httpsPasswordFile: String?

  @Option(
    help: ArgumentHelp("The password itself, which everybody sees who may list processes.", valueName: "password"))
  var httpsPassword: String?

  @Option(
    help: ArgumentHelp("The authorities that the server's certificate is of.", valueName: "file"), completion: .file())
  var caFile: String?

  @Flag(help: "Bring the VMs about once, and end.")
  var once = false

  @Flag(help: "With --once: more than half of what there is may be deleted.")
  var allowMassDeletion = false

  @Argument(help: "https://, ssh:// or file://, or a path.")
  var url: String

  func run() async throws {
    let objects = try await objects()
    let engine = try await options.global.engine()
    let controller = Controller(engine: engine)
    try await controller.declare(objects, by: "the command line")
    guard once else { return try await options.serve() }
    try await Interrupts.run { _ in
      try await SyncNames.whileBusy("GitRepository/\(name)") {
        try await controller.look(at: "\(GitOps.repository)/\(name)")
      }
      var sync = SyncOptions()
      (sync.isManual, sync.allowsMassDeletion) = (true, allowMassDeletion)
      try await SyncNames.run(name, sync, controller)
    }
  }

  private func objects() async throws -> [JSONValue] {
    func span(_ text: String, _ flag: String) throws -> JSONValue {
      guard ManifestReader.milliseconds(text) != nil else {
        throw EngineError(.invalidArgument, "\(flag) \(text) is no time", advice: "write 30s, or 1m")
      }
      return .string(text)
    }
    let secret = try await secret()
    var repository: JSONValue = [
      "url": .string(url), "interval": try span(interval, "--interval"), "timeout": try span(timeout, "--timeout"),
    ]
    if let branch { repository["ref"] = ["branch": .string(branch)] }
    if secret != nil { repository["secretRef"] = ["name": .string(name)] }
    var objects = [
      Controller.object(GitOps.repository, name, repository),
      Controller.object(
        GitOps.sync, name,
        [
          "sourceRef": ["kind": .string(GitOps.repository), "name": .string(name)], "path": .string(path),
          "prune": true, "interval": try span(interval, "--interval"),
        ]),
    ]
    if let secret {
      objects.append([
        "apiVersion": "v1", "kind": .string(Secret.kind), "metadata": ["name": .string(name)], "data": secret,
      ])
    }
    return objects
  }

  /// The Secret's data; nil where nothing of it is given.
  private func secret() async throws -> JSONValue? {
    var data: [String: JSONValue] = [:]
    for (key, path) in [
      ("identity", identityFile), ("known_hosts", hostsFile), ("password", httpsPasswordFile), ("ca.crt", caFile),
    ] {
      guard let path else { continue }
      let text = try await ThreadExecutor.run { () throws in
        try ManifestFiles.text(path, limit: ConfigData.mostBytes)
      }
      data[key] = .string(Data(text.utf8).base64EncodedString())
    }
    if let httpsUsername { data["username"] = .string(Data(httpsUsername.utf8).base64EncodedString()) }
    if let httpsPassword {
      CommandLineTool.say("--https-password is seen by everybody who may list processes; use --https-password-file")
      data["password"] = .string(Data(httpsPassword.utf8).base64EncodedString())
    }
    return data.isEmpty ? nil : .object(data)
  }
}
