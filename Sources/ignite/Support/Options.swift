internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteNetwork
internal import IgniteOCI
internal import IgniteSystem

/// Where state lies; every command takes these.
struct GlobalOptions: ParsableArguments {
  @Option(
    name: .customLong("data-dir"), help: ArgumentHelp("Where images, kernels and VMs are kept.", valueName: "dir"))
  var dataDirectory: String?

  @Option(name: .customLong("run-dir"), help: ArgumentHelp("Where sockets and locks are kept.", valueName: "dir"))
  var runDirectory: String?

  func paths() throws -> Paths {
    try Paths(dataFlag: dataDirectory, runFlag: runDirectory, environment: ProcessInfo.processInfo.environment)
  }

  func engine() async throws -> Engine {
    let environment = ProcessInfo.processInfo.environment
    Timeline.mark("arguments")
    defer { Timeline.mark("open") }
    let engine = try await Engine.open(
      paths: try paths(),
      configuration: try EngineConfiguration.load(environment: environment), environment: environment)
    if let warning = engine.driver.warning { CommandLineTool.say(warning) }
    return engine
  }
}

/// What the process in the VM is given; shared by `run`, `create` and `exec`.
struct ProcessOptions: ParsableArguments {
  @Option(
    name: [.customShort("e"), .customLong("env")], parsing: .singleValue,
    help: ArgumentHelp("Set a variable; NAME alone takes it from here.", valueName: "NAME[=VALUE]"))
  var environment: [String] = []

  @Option(
    name: .customLong("env-file"), parsing: .singleValue,
    help: ArgumentHelp("Read variables from a file, NAME=VALUE a line.", valueName: "file"))
  var environmentFiles: [String] = []

  @Option(
    name: [.customShort("w"), .customLong("workdir")], help: ArgumentHelp("The working directory.", valueName: "dir"))
  var workingDirectory: String?

  @Option(
    name: [.customShort("u"), .customLong("user")],
    help: ArgumentHelp("The user, and group, by name or number.", valueName: "user[:group]"))
  var user: String?

  @Flag(name: [.customShort("i"), .customLong("interactive")], help: "Connect standard input.")
  var interactive = false

  @Flag(name: [.customShort("t"), .customLong("tty")], help: "Give the process a terminal.")
  var tty = false

  /// The variables, files first, as docker orders them.
  func variables() throws -> [String] {
    var result: [String] = []
    for file in environmentFiles {
      guard let data = FileManager.default.contents(atPath: file) else {
        throw SystemError("read the environment file \(file)")
      }
      for (number, line) in String(decoding: data, as: UTF8.self).split(
        separator: "\n", omittingEmptySubsequences: false
      ).enumerated() {
        let text = line.hasSuffix("\r") ? line.dropLast() : line
        if text.isEmpty || text.hasPrefix("#") { continue }
        try append(String(text), to: &result, "line \(number + 1) of \(file)")
      }
    }
    for variable in environment { try append(variable, to: &result, "-e \(variable)") }
    return result
  }

  private func append(_ variable: String, to list: inout [String], _ place: String) throws {
    let name = variable.prefix { $0 != "=" }
    guard !name.isEmpty, !variable.utf8.contains(0), !name.contains(where: \.isWhitespace) else {
      throw EngineError(.invalidArgument, "\(place) names no variable", advice: "write NAME=VALUE")
    }
    if variable.contains("=") {
      list.append(variable)
    } else if let value = getenv(String(name)) {
      list.append("\(name)=\(String(cString: value))")
    }
  }
}

/// Which image, and when a registry is asked for it; shared by `run`, `create` and `image import`.
struct PullOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("When to ask the registry: missing, always, newer or never.", valueName: "policy"))
  var pull: String?

  @Option(help: ArgumentHelp("The image's platform; this machine's when absent.", valueName: "os/arch[/variant]"))
  var platform: String?

  func policy(default policy: PullPolicy) throws -> PullPolicy {
    try pull.map { try CreateOptions.choice($0, "--pull", PullPolicy.allCases) } ?? policy
  }

  func platformOrNil() throws -> Platform? { try platform.map { (text) throws(OCIError) in try Platform(text) } }
}

/// What a new VM is made of; shared by `run` and `create`.
struct CreateOptions: ParsableArguments {
  @Option(help: "The VM's name; one is made up when it is absent.")
  var name: String?

  @Option(
    name: [.customShort("l"), .customLong("label")], parsing: .singleValue,
    help: ArgumentHelp("Set a label.", valueName: "KEY[=VALUE]"))
  var labels: [String] = []

  @Option(help: "Replace the image's entrypoint; an empty one clears it.")
  var entrypoint: String?

  @Option(
    name: [.customShort("p"), .customLong("publish")], parsing: .singleValue,
    help: ArgumentHelp("Publish a port of the VM on the host.", valueName: "[IP:][HOST:]VM[/tcp|udp]"))
  var ports: [String] = []

  @OptionGroup var resources: ResourceOptions

  @Option(name: [.customShort("h"), .customLong("hostname")], help: "The VM's host name; its ID when it is absent.")
  var hostname: String?

  @OptionGroup var pulling: PullOptions

  @OptionGroup var volumes: VolumeOptions

  @OptionGroup var limits: LimitOptions

  @OptionGroup var health: HealthOptions

  @Option(
    name: .customLong("log-opt"), parsing: .singleValue,
    help: ArgumentHelp("Bounds of its log: max-size=16m, max-file=2.", valueName: "NAME=VALUE"))
  var logOptions: [String] = []

  @Option(
    name: .customLong("log-driver"), help: ArgumentHelp("Accepted for docker's sake: json-file.", visibility: .hidden))
  var logDriver: String?

  @Option(help: ArgumentHelp("Run the image's command, or its own init: auto, process or machine.", valueName: "mode"))
  var boot: String = "auto"

  @Flag(name: .customLong("rm"), help: "Remove the VM when its process has ended.")
  var remove = false

  @Option(
    help: ArgumentHelp(
      "Start it again when its process has ended: no, on-failure[:N], always or unless-stopped.", valueName: "policy"))
  var restart: String?

  @Option(
    name: .customLong("stop-signal"),
    help: ArgumentHelp("What asks the process to end; the image's when absent.", valueName: "signal"))
  var stopSignal: String?

  @Option(
    name: .customLong("stop-timeout"),
    help: ArgumentHelp("How long it has to end after that signal.", valueName: "seconds"))
  var stopTimeout: Int?

  @Flag(help: "Boot the kernel at every start, rather than thaw a template of it.")
  var cold = false

  @Flag(
    name: .customLong("reclaim-memory"),
    help: "Give what the guest frees back to the host while it runs; it then shares no memory with its template.")
  var reclaimMemory = false

  @Flag(name: .customLong("init"), help: "Accepted for docker's sake: there always is an init.")
  var usesInit = false

  func request(image: String, command: [String], process: ProcessOptions) throws -> VMRequest {
    var request = VMRequest(image: image)
    request.name = name
    request.labels = try Self.labels(labels)
    request.kernel = resources.kernel
    request.pull = try pulling.policy(default: .missing)
    request.platform = try pulling.platformOrNil()
    request.process.boot = try Self.choice(boot, "--boot", BootMode.allCases)
    request.process.command = entrypoint.map { $0.isEmpty ? [] : [$0] }
    request.process.args = command.isEmpty ? nil : command
    request.process.env = try process.variables()
    request.process.workingDir = process.workingDirectory
    request.process.user = process.user
    request.process.tty = process.tty
    request.process.stdin = process.interactive
    request.resources = try resources.resources()
    request.ports = try ports.flatMap { try PublishedPort.parse($0) }
    request.hostname = hostname
    request.autoRemove = remove
    request.restart = try restart.map(RestartText.policy) ?? VMSpec.Restart()
    request.health = try health.health()
    request.logs = try LogOptions.bounds(logOptions, driver: logDriver)
    if let stopSignal, Signals.number(stopSignal) == nil {
      throw EngineError(
        .invalidArgument, "--stop-signal \(stopSignal) is no signal", advice: "write a name, as TERM, or a number")
    }
    request.stopSignal = stopSignal
    request.stopTimeout = try stopTimeout.map { try EndingOptions.checked($0, "--stop-timeout") }
    request.cold = cold
    request.reclaimMemory = reclaimMemory
    request.volumes = try volumes.all()
    request.limits = try limits.limits(cpuMillis: try resources.cpuMillis())
    request.accelerator = try resources.accelerator()
    return request
  }

  static func labels(_ texts: [String]) throws -> [String: String] {
    var labels: [String: String] = [:]
    for label in texts {
      let parts = label.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard !parts[0].isEmpty else {
        throw EngineError(.invalidArgument, "-l \(label) has no key", advice: "write KEY=VALUE")
      }
      labels[String(parts[0])] = parts.count == 2 ? String(parts[1]) : ""
    }
    return labels
  }

  static func choice<Value: RawRepresentable<String>>(_ text: String, _ flag: String, _ all: [Value]) throws
    -> Value
  {
    guard let value = all.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
      throw EngineError(
        .invalidArgument, "\(flag) \(text) is not possible",
        advice: "write \(all.map { $0.rawValue.lowercased() }.joined(separator: ", "))")
    }
    return value
  }
}
