internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct UpdateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Change VMs: their restart policy, limits, labels and stop timeout.",
    discussion: "A limit of 0 is lifted. What a VM's machine has (memory, whole processors, disk) stays as it was made."
  )

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("no, on-failure[:N], always or unless-stopped.", valueName: "policy"))
  var restart: String?

  @Option(
    name: [.customShort("l"), .customLong("label")], parsing: .singleValue,
    help: ArgumentHelp("Set a label.", valueName: "KEY[=VALUE]"))
  var labels: [String] = []

  @Option(
    name: .customLong("label-rm"), parsing: .singleValue, help: ArgumentHelp("Take a label away.", valueName: "KEY"))
  var removedLabels: [String] = []

  @Option(
    name: .customLong("stop-timeout"),
    help: ArgumentHelp("How long they have to end after the stop signal.", valueName: "seconds"))
  var stopTimeout: Int?

  @Option(
    help: ArgumentHelp("So much of the host's processors at most, up to those that it has.", valueName: "count"))
  var cpus: String?

  @OptionGroup var limits: LimitOptions

  @Argument(help: "Names or UIDs.", completion: .vms)
  var vms: [String]

  func run() async throws {
    var update = VMUpdate()
    update.restart = try restart.map(RestartText.policy)
    update.labels = try CreateOptions.labels(labels)
    update.removedLabels = removedLabels
    update.stopTimeout = try stopTimeout.map { try EndingOptions.checked($0, "--stop-timeout") }
    let millis = try cpus.map(LimitOptions.millis)
    let changesLimits = cpus != nil || !limits.isEmpty
    guard changesLimits || restart != nil || !labels.isEmpty || !removedLabels.isEmpty || stopTimeout != nil else {
      throw EngineError(
        .invalidArgument, "nothing is to be changed",
        advice: "give --restart, --cpus, --cpu-shares, --label, --label-rm or --stop-timeout")
    }
    try await Interrupts.run { [update] _ in
      let engine = try await global.engine()
      try await forEachVM(vms, engine) { vm in
        var update = update
        if changesLimits {
          update.limits = try limits.limits(over: vm.spec.limits, cpuMillis: millis) ?? VMSpec.Limits()
        }
        try await engine.update(vm, update)
        return nil
      }
    }
  }
}
