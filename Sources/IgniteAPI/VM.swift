/// A virtual machine: what its author wants (`spec`) and what the engine found (`status`).
public struct VM: Codable, Equatable, Sendable {
  public static let kind = "VM"
  public var apiVersion = APIVersion.current
  public var kind = VM.kind
  public var metadata: ObjectMeta
  public var spec: VMSpec
  public var status: VMStatus

  public init(metadata: ObjectMeta, spec: VMSpec, status: VMStatus = VMStatus()) {
    self.metadata = metadata
    self.spec = spec
    self.status = status
  }
}

/// What a VM is to be.
public struct VMSpec: Codable, Equatable, Sendable {
  public struct Image: Codable, Equatable, Sendable {
    /// The canonical reference, as `docker.io/library/nginx:1.27`.
    public var oci: String
    public var pullPolicy: PullPolicy = .missing
    public init(oci: String, pullPolicy: PullPolicy = .missing) {
      self.oci = oci
      self.pullPolicy = pullPolicy
    }
  }

  public struct Kernel: Codable, Equatable, Sendable {
    /// An imported kernel's name.
    public var oci: String
    public init(oci: String) { self.oci = oci }
  }

  public struct Resources: Codable, Equatable, Sendable {
    public var cpus: Int = 1
    public var memory: ByteQuantity = .mebibytes(512)
    /// The writable disk's size; sparse on the host.
    public var disk: ByteQuantity = .gibibytes(4)
    public init() {}
  }

  /// What runs; absent fields are the image's own.
  public struct Process: Codable, Equatable, Sendable {
    public var boot: BootMode = .auto
    /// The entrypoint; nil is the image's, an empty list none.
    public var command: [String]?
    /// The arguments; nil is the image's.
    public var args: [String]?
    /// KEY=VALUE each, over the image's.
    public var env: [String] = []
    /// Variables of ConfigMaps and Secrets; those of `env` come over them.
    public var envFrom: [ConfigVariables]?
    public var workingDir: String?
    public var user: String?
    public var tty = false
    /// Standard input is kept open for who attaches.
    public var stdin = false
    public init() {}
  }

  public struct Network: Codable, Equatable, Sendable {
    public var ports: [Port] = []
    public init() {}
  }

  public struct Port: Codable, Equatable, Sendable {
    public var address: String
    public var host: UInt16
    public var vm: UInt16
    public var `protocol`: String

    public init(address: String, host: UInt16, vm: UInt16, protocol: String) {
      self.address = address
      self.host = host
      self.vm = vm
      self.protocol = `protocol`
    }
  }

  /// Whether the VM is started again when its process has ended, or it broke down.
  public struct Restart: Codable, Equatable, Sendable {
    public var policy: RestartPolicy = .never
    /// Of `OnFailure`: so many restarts at most; 0 is no limit.
    public var max: Int = 0

    public init(policy: RestartPolicy = .never, max: Int = 0) {
      self.policy = policy
      self.max = max
    }
  }

  /// What a VM's processes may take of the host's, by its cgroup; nil is no limit.
  public struct Limits: Codable, Equatable, Sendable {
    /// Rates of one block device of the host, a second.
    public struct Device: Codable, Equatable, Sendable {
      public var path: String
      public var readBytes: ByteQuantity?
      public var writeBytes: ByteQuantity?
      public var readOperations: UInt64?
      public var writeOperations: UInt64?

      public init(path: String) { self.path = path }
    }

    /// Thousandths of one processor's time: 500 for half of it.
    public var cpuMillis: Int?
    /// Docker's `--cpu-shares`: 2 to 262144, usually 1024.
    public var cpuShares: Int?
    /// Docker's `--blkio-weight`: 10 to 1000, usually 100.
    public var ioWeight: Int?
    public var devices: [Device]?

    public init() {}

    public var isEmpty: Bool { self == Limits() }
  }

  /// Bounds of a VM's log.
  public struct Logs: Codable, Equatable, Sendable {
    /// Of one file.
    public var maxSize: ByteQuantity?
    /// The file that is written to among them.
    public var maxFiles: Int?

    public init(maxSize: ByteQuantity? = nil, maxFiles: Int? = nil) {
      self.maxSize = maxSize
      self.maxFiles = maxFiles
    }
  }

  /// A health check; what is nil is the image's, or the default.
  public struct Health: Codable, Equatable, Sendable {
    /// `["NONE"]` for none, `["CMD", …]`, or `["CMD-SHELL", command]` (docker's forms).
    public var test: [String]?
    /// Times in milliseconds: 30 s between checks, 30 s for one, no start period, 5 s between checks in it.
    public var interval: Int64?
    public var timeout: Int64?
    public var startPeriod: Int64?
    public var startInterval: Int64?
    /// Failures one after the other that make it unhealthy: 3.
    public var retries: Int?
    /// An unhealthy VM has failed, and its restart policy has its say.
    public var endsUnhealthy: Bool?

    public init() {}
  }

  public var image: Image
  public var kernel: Kernel?
  public var hypervisor: HypervisorChoice = .auto
  public var state: DesiredState = .running
  public var resources = Resources()
  public var process = Process()
  public var network = Network()
  /// The guest's host name; nil is the first 12 digits of the UID.
  public var hostname: String?
  /// The VM is removed when its process has ended (`--rm`).
  public var autoRemove = false
  /// What follows its process's end; nil is `Never`.
  public var restart: Restart?
  /// What is kept of what its process writes; nil is as the configuration says.
  public var logs: Logs?
  /// How its health is checked; nil is as the image says.
  public var health: Health?
  /// The signal that asks its process to end, by name or number; nil is the image's.
  public var stopSignal: String?
  /// Seconds from that signal to the VM's end; nil is ten of a process, ninety of a machine.
  public var stopTimeout: Int?
  /// Its kernel boots at every start, rather than to be thawed from a template (`--cold`).
  public var cold: Bool?
  /// What its guest frees is given back to the host, also where it starts from a template, of which it then has a whole
  /// copy (`--reclaim-memory`). One that starts cold always gives it back.
  public var reclaimMemory: Bool?
  /// Its share of the host's processors and disks.
  public var limits: Limits?
  /// What becomes of a change that cannot be made in place; nil is `InPlace`.
  public var updatePolicy: UpdatePolicy?
  /// Disks, directories and memory at places of its file system, outer ones before those inside them.
  public var volumes: [VolumeMount]?
  /// Single files that it is given at each start.
  public var files: [GivenFile]?

  public init(image: Image) { self.image = image }
}

/// When a registry is asked for an image that is here already.
public enum PullPolicy: String, Codable, Sendable, CaseIterable {
  /// Not at all.
  case missing = "Missing"
  /// Each time; fetched is what has changed.
  case always = "Always"
  /// Each time, but an image that is here serves where the registry cannot be reached.
  case newer = "Newer"
  case never = "Never"
}

public enum RestartPolicy: String, Codable, Sendable, CaseIterable {
  case never = "Never"
  /// When the process has ended with another status than 0, or the VM broke down.
  case onFailure = "OnFailure"
  /// Whatever the status; also when the host has started, even after a `stop`.
  case always = "Always"
  /// As `Always`, but a VM that was stopped stays stopped when the host starts.
  case unlessStopped = "UnlessStopped"
}

public enum BootMode: String, Codable, Sendable, CaseIterable {
  /// A machine when the image says so, a process otherwise.
  case auto = "Auto"
  /// Ignite's init is PID 1 and runs the image's command.
  case process = "Process"
  /// The image's own init is PID 1.
  case machine = "Machine"
}

public enum HypervisorChoice: String, Codable, Sendable, CaseIterable {
  case auto = "Auto"
  case qemu = "QEMU"
}

public enum UpdatePolicy: String, Codable, Sendable, CaseIterable {
  /// What cannot be changed in place stays as it is, and is told.
  case inPlace = "InPlace"
  /// The VM is removed with its disk, and made anew.
  case replace = "Replace"
}

public enum DesiredState: String, Codable, Sendable, CaseIterable {
  case running = "Running"
  case stopped = "Stopped"
  case paused = "Paused"
}
