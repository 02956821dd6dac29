internal import ArgumentParser
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine

struct UpCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up", abstract: "Bring a packaged application up, and wait until it is ready.",
    discussion: """
      The same as apply --yes --wait: what the application lacks is made, what differs is changed, and what it does not have any more is \
      deleted; what holds it back is told.
      """)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles
  @OptionGroup var waiting: WaitOptions

  func run() async throws {
    let timeout = try waiting.duration()
    try await Interrupts.run { _ in
      let read = try await manifests.readTelling()
      let controller = Controller(engine: try await global.engine())
      let plan = try await controller.plan(read)
      try await PlanRun.run(plan, read, controller, agreed: true)
      try await controller.awaitReady(read, timeout: timeout, progress: PlanRun.report)
      for manifest in read { Output.line("\(manifest.title): ready") }
    }
  }
}

struct DownCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down", abstract: "Take a packaged application down; its volumes stay.")

  @OptionGroup var global: GlobalOptions
  @OptionGroup var manifests: ManifestFiles

  @Flag(help: "Its volumes go, too, with all that is on them.")
  var volumes = false

  func run() async throws {
    try await Interrupts.run { _ in
      let read = try await manifests.read()
      let controller = Controller(engine: try await global.engine())
      let plan = try await controller.planRemoval(
        volumes ? read : read.filter { $0.kind != Volume.kind }, keepsVolumes: !volumes)
      try await PlanRun.run(plan, agreed: true, verb: "Delete") {
        try await controller.remove(plan, keepsVolumes: !volumes, progress: PlanRun.report)
        return plan
      }
    }
  }
}
