internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

/// Docker's flags for health checks.
struct HealthOptions: ParsableArguments {
  @Option(
    name: .customLong("health-cmd"),
    help: ArgumentHelp("A shell's command that tells the VM's health.", valueName: "command"))
  var command: String?

  @Option(name: .customLong("health-interval"), help: ArgumentHelp("Between two checks (30s).", valueName: "time"))
  var interval: String?

  @Option(name: .customLong("health-timeout"), help: ArgumentHelp("How long one may take (30s).", valueName: "time"))
  var timeout: String?

  @Option(
    name: .customLong("health-start-period"),
    help: ArgumentHelp("How long failures do not count after the start (0s).", valueName: "time"))
  var startPeriod: String?

  @Option(
    name: .customLong("health-start-interval"),
    help: ArgumentHelp("Between two checks in the start period (5s).", valueName: "time"))
  var startInterval: String?

  @Option(
    name: .customLong("health-retries"),
    help: ArgumentHelp("So many failures one after the other make it unhealthy (3).", valueName: "count"))
  var retries: Int?

  @Flag(name: .customLong("no-healthcheck"), help: "Without the image's check.")
  var isOff = false

  @Flag(name: .customLong("restart-unhealthy"), help: "An unhealthy VM has failed: its restart policy has its say.")
  var restarts = false

  /// nil where nothing is said: the image's check counts.
  func health() throws -> VMSpec.Health? {
    let times = [interval, timeout, startPeriod, startInterval]
    guard isOff || restarts || command != nil || retries != nil || times.contains(where: { $0 != nil }) else {
      return nil
    }
    var health = VMSpec.Health()
    if isOff {
      guard command == nil, retries == nil, times.allSatisfy({ $0 == nil }) else {
        throw EngineError(
          .invalidArgument, "--no-healthcheck and the other flags of health checks contradict each other",
          advice: "leave one of them out")
      }
      health.test = ["NONE"]
      return health
    }
    health.test = command.map { ["CMD-SHELL", $0] }
    health.interval = try Self.milliseconds(interval, "--health-interval")
    health.timeout = try Self.milliseconds(timeout, "--health-timeout")
    health.startPeriod = try Self.milliseconds(startPeriod, "--health-start-period", from: 0)
    health.startInterval = try Self.milliseconds(startInterval, "--health-start-interval")
    if let retries {
      guard (1...1000).contains(retries) else {
        throw EngineError(.invalidArgument, "--health-retries \(retries) is not possible", advice: "give 1 to 1000")
      }
      health.retries = retries
    }
    health.endsUnhealthy = restarts ? true : nil
    return health
  }

  /// `500ms`, `1m30s` and the like, a day at most.
  private static func milliseconds(_ text: String?, _ flag: String, from least: Int64 = 1) throws -> Int64? {
    guard let text else { return nil }
    let value =
      text.hasSuffix("ms") ? Int64(text.dropLast(2)) : text == "0" ? 0 : TimeSpan.seconds(text).map { $0 * 1000 }
    guard let value, (least...86_400_000).contains(value) else {
      throw EngineError(
        .invalidArgument, "\(flag) \(text) is not possible", advice: "write it as 500ms, 30s or 5m, a day at most")
    }
    return value
  }
}
