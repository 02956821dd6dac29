internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteNetwork
internal import IgniteSupervisor
internal import IgniteSystem

/// How a VM's processors are run: by KVM where that works, else by emulation.
struct AcceleratorChoice: Sendable {
  var accelerator: MachineConfiguration.Accelerator
  /// The host's, which an emulated guest is told.
  var timestampCounterKilohertz: UInt64?

  /// Of what has no processors.
  static let none = AcceleratorChoice(accelerator: .tcg, timestampCounterKilohertz: nil)

  /// - Parameters:
  ///   - wanted: `kvm` or `tcg`; nil takes KVM where it can run a guest, and says once where it cannot.
  static func make(_ wanted: String?, paths: Paths, notify: Engine.Notify) async throws -> AcceleratorChoice {
    let rateCache = paths.data + "/tsc.json"
    let probeCache = paths.data + "/kvm.json"
    let probe = await ThreadExecutor.run { KVMProbe.look(cache: probeCache) }
    switch (wanted, probe) {
    case ("tcg", _): break
    case (_, .usable): return AcceleratorChoice(accelerator: .kvm, timestampCounterKilohertz: nil)
    case ("kvm", .unusable(let reason, let advice)):
      throw EngineError(.unavailable, "KVM cannot be used: \(reason)", advice: advice ?? "use --accel tcg")
    case (_, .unusable(let reason, _)): try Self.announce(reason, paths: paths, notify: notify)
    }
    let rate = await ThreadExecutor.run { TimestampCounter.kilohertz(cache: rateCache) }
    return AcceleratorChoice(accelerator: .tcg, timestampCounterKilohertz: rate)
  }

  /// Says once for a data directory and reason that machines are emulated.
  private static func announce(_ reason: String, paths: Paths, notify: Engine.Notify) throws {
    let marker = paths.data + "/emulation-announced"
    if FileManager.default.contents(atPath: marker).map({ String(decoding: $0, as: UTF8.self) }) == reason { return }
    notify(
      "KVM cannot be used (\(reason)); VMs are emulated, which is slower and no security boundary. "
        + "This is said once; see `ignite doctor`")
    try Data(reason.utf8).write(to: URL(filePath: marker), options: .atomic)
  }
}

/// What connects a VM to the host's network.
struct UserNetworkChoice: Sendable {
  private let network: UserNetwork
  private let ports: [PublishedPort]

  static func make(vm: VM, mode: String) async throws -> UserNetworkChoice {
    let ports = vm.spec.network.ports.map {
      PublishedPort(
        address: $0.address, hostPort: $0.host, vmPort: $0.vm, transport: $0.protocol == "UDP" ? .udp : .tcp)
    }
    let network = network(mode: mode)
    if mode == "Passt", case .restricted(let reason, let advice) = network {
      throw EngineError(.unavailable, "the network cannot be passt's: \(reason)", advice: advice)
    }
    // Asked before anything is started, so that a port that is taken is the command's error.
    try await ThreadExecutor.run { () throws(NetworkError) in try PublishedPort.check(ports) }
    return UserNetworkChoice(network: network, ports: ports)
  }

  static func network(mode: String) -> UserNetwork {
    mode == "Restricted"
      ? .restricted(reason: "the configuration says so", advice: "set network.userMode: Auto") : .choose()
  }

  var plan: SpawnPlan.Network {
    switch network {
    case .passt(let program): .passt(PasstSettings(program: program, ports: ports))
    case .restricted: .restricted(ports)
    }
  }

  func condition(time: Date) -> Condition {
    switch network {
    case .passt:
      Condition(
        type: "OutboundNetwork", status: true, reason: "Passt", message: "the guest reaches what the host reaches",
        time: time)
    case .restricted(let reason, _):
      Condition(
        type: "OutboundNetwork", status: false, reason: "Restricted",
        message: "the guest reaches nothing; its published ports are reached: \(reason)", time: time)
    }
  }
}
