public import FoundationEssentials

/// Where a VM is in its life.
public enum VMPhase: String, Codable, Sendable, CaseIterable {
  /// Made, never started.
  case created = "Created"
  /// Its supervisor is bringing it up.
  case starting = "Starting"
  /// Its process runs.
  case running = "Running"
  /// Its process has ended, and its policy has it started again in a moment.
  case restarting = "Restarting"
  /// It was halted where it was, and takes no time of the host's processors.
  case paused = "Paused"
  /// Its process has ended, or it was stopped.
  case stopped = "Stopped"
  /// It could not start, or its supervisor was lost; `message` says why.
  case failed = "Failed"
  /// Being removed.
  case removing = "Removing"

  /// A supervisor is, or should be, at work.
  public var isActive: Bool { self == .starting || self == .running || self == .restarting || self == .paused }
}

/// What the engine found; written by it alone.
public struct VMStatus: Codable, Equatable, Sendable {
  /// What the last health checks were; read when a VM is inspected, and not kept with the object.
  public struct HealthCheck: Codable, Equatable, Sendable {
    public struct Result: Codable, Equatable, Sendable {
      public var start: Date
      public var end: Date
      /// -1 where it did not end in time.
      public var exitCode: Int32
      public var output: String

      public init(start: Date, end: Date, exitCode: Int32, output: String) {
        self.start = start
        self.end = end
        self.exitCode = exitCode
        self.output = output
      }
    }

    public var failingStreak: Int
    /// Five at most, oldest first.
    public var log: [Result]

    public init(failingStreak: Int, log: [Result]) {
      self.failingStreak = failingStreak
      self.log = log
    }
  }

  public var phase: VMPhase = .created
  public var observedGeneration: Int64 = 0
  public var conditions: [Condition] = []
  public var hypervisor: String?
  /// `kvm` or `tcg`.
  public var accelerator: String?
  /// The kernel's name and digest, and the image's manifest digest, as they were at the last start.
  public var kernel: String?
  public var kernelDigest: String?
  public var imageDigest: String?
  public var chainID: String?
  /// The base disk's file name below `disks`: what keeps it there.
  public var baseDisk: String?
  public var addresses: [String] = []
  public var restarts = 0
  /// `starting`, `healthy` or `unhealthy`, of a VM that has a health check and runs.
  public var health: String?
  public var healthCheck: HealthCheck?
  /// The process's exit status as a shell shows it (128 + signal).
  public var exitCode: Int32?
  public var message: String?
  public var startedAt: Date?
  public var finishedAt: Date?
  /// The processes of the last start.
  public var supervisorPID: Int32?
  public var hypervisorPID: Int32?
  /// The key of the template that the last start thawed; nil where the kernel booted.
  public var template: String?
  /// The host's user that the VM runs as; nil for the caller's own.
  public var userID: UInt32?
  /// Which ConfigMaps and Secrets the last start was given something of, by title: UID and generation.
  public var configs: [String: String]?
  /// Bytes of the journal that are folded in.
  public var journalOffset: UInt64 = 0

  public init() {}

  /// Puts a condition in the place of the one of its type; the time stays where its status has not changed.
  public mutating func set(_ condition: Condition) {
    guard let index = conditions.firstIndex(where: { $0.type == condition.type }) else {
      conditions.append(condition)
      return
    }
    var condition = condition
    if conditions[index].status == condition.status {
      condition.lastTransitionTime = conditions[index].lastTransitionTime
    }
    conditions[index] = condition
  }
}
