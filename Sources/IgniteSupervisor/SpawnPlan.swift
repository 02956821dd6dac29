public import FoundationEssentials
internal import Glibc
public import IgniteHypervisor
public import IgniteNetwork
public import IgniteSystem
public import IgniteWire

/// All that a supervisor is told: written by the engine to `vms/<uid>/spawn.json`, with paths as the supervisor sees
/// them (in a root of its own when it runs as the VM's user).
public struct SpawnPlan: Codable, Sendable {
  public struct Paths: Codable, Sendable {
    public var journal: String
    public var log: String
    public var console: String
    public var spawnSocket: String
    public var health: String

    /// - Parameters:
    ///   - data: the VM's directory below the data root.
    ///   - run: the VM's directory below the run root.
    public init(data: String, run: String) {
      journal = data + "/journal"
      log = data + "/log"
      console = data + "/console.log"
      health = data + "/health.json"
      spawnSocket = run + "/spawn.sock"
    }
  }

  public enum Network: Codable, Sendable {
    case none
    /// passt, as a process beside the hypervisor.
    case passt(PasstSettings)
    /// The hypervisor's own user network: published ports only.
    case restricted([PublishedPort])
  }

  /// What the guest is told of itself; wall clock and entropy are added at the moment of sending.
  public struct Guest: Codable, Sendable {
    public var hostname: String
    public var machineID: String
    public var modulesDevice: String
    public var macAddress: String
    public var address: String
    public var gateway: String
    public var nameServers: [String]
    public var searchDomains: [String]
    public var mounts: [Mount]?

    public init(
      hostname: String, machineID: String, modulesDevice: String, macAddress: String, address: String, gateway: String,
      nameServers: [String], searchDomains: [String]
    ) {
      self.hostname = hostname
      self.machineID = machineID
      self.modulesDevice = modulesDevice
      self.macAddress = macAddress
      self.address = address
      self.gateway = gateway
      self.nameServers = nameServers
      self.searchDomains = searchDomains
    }

    func configuration(wallClock: UInt64, entropy: [UInt8]) throws(SystemError) -> IgniteWire.Configuration {
      var configuration = IgniteWire.Configuration()
      configuration.hostname = hostname
      configuration.machineID = machineID
      configuration.modulesDevice = modulesDevice
      configuration.macAddress = macAddress
      configuration.address = address
      configuration.gateway = gateway
      configuration.nameServers = nameServers
      configuration.searchDomains = searchDomains
      configuration.mounts = (mounts ?? []).compactMap(\.wired)
      configuration.wallClock = wallClock
      configuration.entropy = entropy
      return configuration
    }
  }

  /// What the guest mounts; see `GuestMount`.
  public struct Mount: Codable, Sendable {
    public var kind: UInt64
    public var source: String
    public var target: String
    public var readOnly: Bool
    public var isFilled: Bool
    public var flags: UInt64
    public var options: String

    public init(
      _ kind: GuestMount.Kind, source: String = "", target: String, readOnly: Bool, isFilled: Bool = false,
      flags: UInt64 = 0, options: String = ""
    ) {
      self.kind = kind.rawValue
      self.source = source
      self.target = target
      self.readOnly = readOnly
      self.isFilled = isFilled
      self.flags = flags
      self.options = options
    }

    var wired: GuestMount? {
      guard let kind = GuestMount.Kind(rawValue: kind) else { return nil }
      var mount = GuestMount(kind)
      mount.source = source
      mount.target = Array(target.utf8)
      mount.readOnly = readOnly
      mount.isFilled = isFilled
      mount.flags = flags
      mount.options = options
      return mount
    }
  }

  /// The main process.
  public struct Process: Codable, Sendable {
    public var arguments: [String]
    public var environment: [String]
    public var workingDirectory: String
    public var user: String
    public var tty: Bool
    public var input: Bool
    /// The image's own init is PID 1.
    public var machine: Bool
    public var columns: UInt16
    public var rows: UInt16

    public init(
      arguments: [String], environment: [String], workingDirectory: String, user: String, tty: Bool, input: Bool,
      machine: Bool, size: TerminalSize
    ) {
      self.arguments = arguments
      self.environment = environment
      self.workingDirectory = workingDirectory
      self.user = user
      self.tty = tty
      self.input = input
      self.machine = machine
      columns = size.columns
      rows = size.rows
    }

    func request() -> ProcessRequest {
      var request = ProcessRequest()
      request.isMain = true
      request.arguments = arguments.map { Array($0.utf8) }
      request.environment = environment.map { Array($0.utf8) }
      request.workingDirectory = Array(workingDirectory.utf8)
      request.user = Array(user.utf8)
      request.tty = tty
      request.input = input
      request.machine = machine
      request.size = TerminalSize(columns: columns, rows: rows)
      return request
    }
  }

  /// How a spare waits: thawed, configured, halted, and nobody's VM yet.
  public struct Spare: Codable, Sendable {
    /// Where it is asked for; see `SpareClaim`.
    public var socket: String
    /// Seconds after which it ends, when nobody has.
    public var idle: Int64

    public init(socket: String, idle: Int64) {
      self.socket = socket
      self.idle = idle
    }
  }

  /// Bounds of a VM's log: bytes of a file, and files, the one that is written to among them.
  public struct Logs: Codable, Sendable {
    public var maxSize: Int64
    public var maxFiles: Int

    public init(maxSize: Int64, maxFiles: Int) {
      self.maxSize = maxSize
      self.maxFiles = maxFiles
    }

    static let usual = Logs(maxSize: 16 << 20, maxFiles: 2)
  }

  /// A health check; times in milliseconds.
  public struct Health: Codable, Sendable {
    public var arguments: [String]
    public var interval: Int64
    public var timeout: Int64
    /// Failures do not count for so long after the start.
    public var startPeriod: Int64
    /// Between checks in that time; 0 is `interval`.
    public var startInterval: Int64
    public var retries: Int
    /// A VM that is unhealthy has failed, so that its restart policy has its say.
    public var endsUnhealthy: Bool

    public init(
      arguments: [String], interval: Int64, timeout: Int64, startPeriod: Int64, startInterval: Int64, retries: Int,
      endsUnhealthy: Bool
    ) {
      self.arguments = arguments
      self.interval = interval
      self.timeout = timeout
      self.startPeriod = startPeriod
      self.startInterval = startInterval
      self.retries = retries
      self.endsUnhealthy = endsUnhealthy
    }
  }

  /// The spec's restart policy.
  public struct Restart: Codable, Sendable {
    /// As the VM's spec spells it: `OnFailure`, `Always`, `UnlessStopped`.
    public var policy: String
    /// Of `OnFailure`; 0 is no limit.
    public var limit: Int

    public init(policy: String, limit: Int) {
      self.policy = policy
      self.limit = limit
    }
  }

  /// What a lost supervisor has left running.
  public struct Successor: Codable, Sendable {
    public var hypervisor: ProcessIdentity
    public var isPaused: Bool
    /// How often the VM has been started again.
    public var restarts: Int

    public init(hypervisor: ProcessIdentity, isPaused: Bool, restarts: Int) {
      self.hypervisor = hypervisor
      self.isPaused = isPaused
      self.restarts = restarts
    }
  }

  public static let currentVersion = 1
  public var version = SpawnPlan.currentVersion
  public var uid: String
  public var name: String
  public var paths: Paths
  public var machine: MachineConfiguration
  public var network: Network
  public var guest: Guest
  public var process: Process
  /// The signal that asks the main process to end.
  public var stopSignal: Int32
  /// The command stays with the VM: its process is not started before the command has joined.
  public var waitsForClient: Bool
  /// The key of the template that it thaws, whose memory and state the supervisor inherits; nil boots.
  public var template: String?
  /// The VM goes with its main process (`--rm`): nothing of its disk need be written back.
  public var discards: Bool?
  /// What follows the process's end; nil is the end.
  public var restart: Restart?
  /// Bounds of the log; nil is the usual ones.
  public var logs: Logs?
  /// How its health is checked; nil is not at all.
  public var health: Health?
  /// An archive of files that the guest is given before the process starts, with paths below its root.
  public var files: Data?
  /// Set for a spare: what process it runs is told by another plan, once a VM is made of it.
  public var spare: Spare?
  /// Set for a supervisor that takes the place of a lost one.
  public var successor: Successor?
  /// Of the command that starts the VM; later starts by its policy keep it.
  public var request: RequestID?
  /// There is no machine: the driver that does nothing stands for one. nil is a machine.
  public var doesNothing: Bool?

  public init(
    uid: String, name: String, paths: Paths, machine: MachineConfiguration, network: Network, guest: Guest,
    process: Process, stopSignal: Int32, waitsForClient: Bool
  ) {
    self.uid = uid
    self.name = name
    self.paths = paths
    self.machine = machine
    self.network = network
    self.guest = guest
    self.process = process
    self.stopSignal = stopSignal
    self.waitsForClient = waitsForClient
  }

  /// Reads a plan and checks its version.
  public static func read(path: String) throws -> SpawnPlan {
    try read(from: try FileDescriptor.open(path, 0), path: path)
  }

  static func read(from file: FileDescriptor, path: String) throws -> SpawnPlan {
    var bytes = [UInt8](repeating: 0, count: 4 << 20)
    let count = try retrying("read \(path)") { readAll(file.number, &bytes) }
    let plan = try JSONDecoder().decode(SpawnPlan.self, from: Data(bytes.prefix(count)))
    guard plan.version == currentVersion else {
      throw SupervisorError("the plan \(path) is of version \(plan.version), and this program knows \(currentVersion)")
    }
    return plan
  }
}

/// What a supervisor tells the command that started it, a line of JSON each.
public struct SpawnNotice: Codable, Equatable, Sendable {
  public enum Event: String, Codable, Sendable {
    /// `spawn.sock` takes clients.
    case listening
    /// The main process was executed.
    case running
    /// The spare waits to be asked for.
    case spare
    /// The template did not thaw, for the reason in `message`; the VM boots instead.
    case thawFailed
    /// It came to nothing; `code` and `message` say why.
    case failed
  }

  public var event: Event
  public var code: Int32
  public var message: String?
  /// With `running`: the supervisor's way there.
  public var marks: [Timeline.Mark]?

  public init(_ event: Event, code: Int32 = 0, message: String? = nil) {
    self.event = event
    self.code = code
    self.message = message
  }

  /// Writes the notice as a line; nobody may be there to read it.
  public func write(to pipe: FileDescriptor) {
    guard var line = try? JSONEncoder().encode(self) else { return }
    line.append(10)
    _ = line.withUnsafeBytes { Glibc.write(pipe.number, $0.baseAddress, $0.count) }
  }

  /// The notice of one line; nil where it is none.
  public init?(line: [UInt8]) {
    guard let notice = try? JSONDecoder().decode(SpawnNotice.self, from: Data(line)) else { return nil }
    self = notice
  }
}
