public import IgniteSystem

/// A program that runs machines. What a driver cannot do it leaves to the default, which says so.
public protocol Hypervisor: Sendable {
  /// As users know it: `QEMU`.
  var name: String { get }

  /// The program's version; throws where it is missing or too old. Blocking.
  func version() throws(HypervisorError) -> String

  /// Starts a machine; returns once its control channel answers.
  /// - Parameters:
  ///   - network: what its network card is connected to.
  ///   - confinement: cgroup and limits of the process.
  ///   - whenListening: called once the machine's sockets take connections, before it runs: who connects then misses
  ///     nothing.
  func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine

  /// Starts a machine that is to be frozen: its memory is `memory`, its network card is connected to nothing.
  func startFreezable(
    _ configuration: MachineConfiguration, memory: FileDescriptor, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine

  /// Starts a machine where a frozen one stopped, with disks and network of its own. All that `frozenArguments` tells of
  /// both has to be the same.
  func thaw(
    _ frozen: FrozenMachine, _ configuration: MachineConfiguration, network: NetworkAttachment,
    confinement: MachineConfinement, whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine

  /// What of a configuration a frozen machine has in it, without what may differ: paths, addresses, the network's kind.
  /// - Parameter hasNetwork: whether there is a network card.
  func frozenArguments(_ configuration: MachineConfiguration, hasNetwork: Bool) throws(HypervisorError) -> [String]

  /// Takes up a machine that another process started; nil where it has ended.
  func adopt(
    _ identity: ProcessIdentity, configuration: MachineConfiguration
  ) async throws(HypervisorError) -> (any Machine)?
}

/// A machine at rest. Both descriptors stay the caller's.
public struct FrozenMachine: Sendable {
  /// Its memory, of which each machine that thaws gets a private copy.
  public var memory: FileDescriptor
  /// The state of its devices, read from the descriptor's offset on.
  public var state: FileDescriptor

  public init(memory: FileDescriptor, state: FileDescriptor) {
    self.memory = memory
    self.state = state
  }
}

extension Hypervisor {
  public func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement
  ) async throws(HypervisorError) -> any Machine {
    try await start(configuration, network: network, confinement: confinement) {}
  }

  public func startFreezable(
    _ configuration: MachineConfiguration, memory: FileDescriptor, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    throw unsupported("freezing machines")
  }

  public func thaw(
    _ frozen: FrozenMachine, _ configuration: MachineConfiguration, network: NetworkAttachment,
    confinement: MachineConfinement, whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    throw unsupported("thawing machines")
  }

  public func frozenArguments(
    _ configuration: MachineConfiguration, hasNetwork: Bool
  ) throws(HypervisorError) -> [String] {
    throw unsupported("freezing machines")
  }

  public func adopt(
    _ identity: ProcessIdentity, configuration: MachineConfiguration
  ) async throws(HypervisorError) -> (any Machine)? {
    throw unsupported("taking up a running machine")
  }

  func unsupported(_ what: String) -> HypervisorError {
    HypervisorError(.unsupported, "\(name) cannot do this: \(what)")
  }
}

/// How a hypervisor's process is held.
public struct MachineConfinement: Sendable {
  public var isolation: Isolation?
  public var cgroup: Cgroup?
  public var limits: [LaunchRequest.Limit]

  public init(
    isolation: Isolation? = nil, cgroup: Cgroup? = nil, limits: [LaunchRequest.Limit] = [.noCore, .openFiles(4096)]
  ) {
    self.isolation = isolation
    self.cgroup = cgroup
    self.limits = limits
  }
}
