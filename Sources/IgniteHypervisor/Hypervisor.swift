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
  func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement
  ) async throws(HypervisorError) -> any Machine

  /// Takes up a machine that another process started; nil where it has ended.
  func adopt(
    _ identity: ProcessIdentity, configuration: MachineConfiguration
  ) async throws(HypervisorError) -> (any Machine)?
}

extension Hypervisor {
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
