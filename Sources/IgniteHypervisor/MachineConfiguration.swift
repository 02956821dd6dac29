public import IgniteSystem

/// What a machine is made of; the same for every driver, and kept beside the machine for the supervisor's successor.
public struct MachineConfiguration: Sendable, Equatable, Codable {
  /// A block device, in the guest `vda`, `vdb`, … in the order of the list.
  public struct Drive: Sendable, Equatable, Codable {
    /// Letters, digits and hyphens, at most 20: the guest reads it as the device's serial number.
    public var id: String
    /// A raw image.
    public var path: String
    /// A read-only drive may be shared by any number of machines.
    public var readOnly: Bool
    /// The number of an open descriptor of this process, of a file or a block device, in place of a path. The hypervisor
    /// inherits it under the same number: 16 to 63.
    public var descriptor: Int32?
    /// nil is a file.
    public var blockDevice: Bool?

    var isBlockDevice: Bool { blockDevice == true }

    public init(id: String, path: String, readOnly: Bool) {
      self.id = id
      self.path = path
      self.readOnly = readOnly
    }
  }

  /// A directory of the host, by virtio-fs.
  public struct Share: Sendable, Equatable, Codable {
    /// Letters, digits and hyphens, at most 36: the guest mounts it by this name.
    public var tag: String
    /// Where its daemon listens.
    public var socketPath: String

    public init(tag: String, socketPath: String) {
      self.tag = tag
      self.socketPath = socketPath
    }
  }

  public enum Accelerator: String, Sendable, Codable, CaseIterable {
    case kvm
    case tcg
  }

  /// An ELF vmlinux with a PVH entry.
  public var kernelPath: String
  public var initrdPath: String?
  /// Further arguments of the kernel, after the driver's own (console, clock, reboot).
  public var kernelArguments: [String]
  public var cpus: Int
  public var memoryBytes: UInt64
  public var drives: [Drive]
  /// A machine with such is neither frozen nor thawed: its memory is its daemons' too.
  public var shares: [Share]?
  /// Thawed, too, it gives back what its guest frees: then its memory is a whole copy of the template's, not a part of it.
  public var reclaimsMemory: Bool?
  /// `52:54:00:12:34:56`; nil leaves the driver's default.
  public var macAddress: String?
  /// Unix sockets that the driver listens at from before the machine starts, so that a connection never comes early.
  public var agentSocketPath: String
  public var controlSocketPath: String
  /// The guest's console; what it prints is lost while nobody is connected.
  public var consoleSocketPath: String
  public var accelerator: Accelerator
  /// The host's time-stamp counter in kHz, which emulation and kernel must agree on.
  public var timestampCounterKilohertz: UInt64?
  /// Whether the hypervisor confines itself (QEMU's `-sandbox`); off for debugging only.
  public var sandbox: Bool

  public init(
    kernelPath: String, initrdPath: String? = nil, kernelArguments: [String] = [], cpus: Int = 1,
    memoryBytes: UInt64 = 512 << 20, drives: [Drive] = [], macAddress: String? = nil,
    agentSocketPath: String, controlSocketPath: String, consoleSocketPath: String, accelerator: Accelerator = .tcg,
    timestampCounterKilohertz: UInt64? = nil, sandbox: Bool = true
  ) {
    self.kernelPath = kernelPath
    self.initrdPath = initrdPath
    self.kernelArguments = kernelArguments
    self.cpus = cpus
    self.memoryBytes = memoryBytes
    self.drives = drives
    self.macAddress = macAddress
    self.agentSocketPath = agentSocketPath
    self.controlSocketPath = controlSocketPath
    self.consoleSocketPath = consoleSocketPath
    self.accelerator = accelerator
    self.timestampCounterKilohertz = timestampCounterKilohertz
    self.sandbox = sandbox
  }

  /// The guest's channel to its agent: the name of the virtio-serial port.
  public static let agentPortName = "ignite.agent"
}

/// A port of the host that is led to the guest by a hypervisor with a network of its own.
public struct PortForward: Sendable, Equatable, Codable {
  public var isUDP: Bool
  /// An IPv4 address of the host; empty is all.
  public var hostAddress: String
  public var hostPort: UInt16
  public var guestPort: UInt16

  public init(isUDP: Bool = false, hostAddress: String = "", hostPort: UInt16, guestPort: UInt16) {
    self.isUDP = isUDP
    self.hostAddress = hostAddress
    self.hostPort = hostPort
    self.guestPort = guestPort
  }
}

/// What the guest's network card is connected to.
public enum NetworkAttachment: Sendable {
  /// No card.
  case none
  /// A card that is connected to nothing, for a machine that is to be frozen.
  case neutral
  /// A connected stream socket that carries frames, each after its length in four bytes (passt's protocol). The
  /// descriptor stays the caller's, who closes it once the machine runs.
  case stream(FileDescriptor)
  /// The hypervisor's own user-mode network. `restricted`: published ports only, nothing from the guest outward.
  case user(restricted: Bool, ports: [PortForward])
}
