internal import FoundationEssentials
public import IgniteHypervisor
public import IgniteSystem
internal import IgniteWire

/// Boots a machine that is nobody's yet, has its guest prepare itself, and freezes it.
public actor TemplateMaker {
  private let loop: EventLoop
  private let configuration: MachineConfiguration
  private let hypervisor: any Hypervisor
  private let console: Console
  private let expected: Configuration
  private var agent: FrameConnection?
  private var outcome: Result<Void, SupervisorError>?
  private var waiting: CheckedContinuation<Result<Void, SupervisorError>, Never>?

  private static let prepareStream: UInt32 = 1
  private static let timeout: Duration = .seconds(180)

  public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

  /// - Parameters:
  ///   - configuration: with drives that stand in for those of the VMs.
  ///   - guest: what clones will be told, as far as they all will.
  ///   - console: a file for what its console says.
  public init(
    _ configuration: MachineConfiguration, guest: SpawnPlan.Guest, hypervisor: any Hypervisor, console: String
  ) throws {
    var expected = Configuration()
    expected.modulesDevice = guest.modulesDevice
    expected.address = guest.address
    expected.gateway = guest.gateway
    self.expected = expected
    loop = try EventLoop(name: "ignite-template")
    self.configuration = configuration
    self.hypervisor = hypervisor
    self.console = try Console(path: console)
  }

  /// Does it all; the machine has ended when it returns or throws.
  /// - Parameters:
  ///   - memory: holds the machine's memory afterwards.
  ///   - socket: where a socket for the state can be made, that the machine's user reaches.
  /// - Returns: the state of the devices.
  public func freeze(
    memory: FileDescriptor, confinement: MachineConfinement, socket: String
  ) async throws -> [UInt8] {
    defer { loop.stop() }
    let machine = try await hypervisor.startFreezable(configuration, memory: memory, confinement: confinement) {
      await self.connect()
    }
    do {
      try await prepared(machine).get()
      let state = try await machine.freeze(through: socket, user: confinement.isolation?.uid)
      await end(machine)
      return state
    } catch {
      await end(machine)
      throw error
    }
  }

  private func end(_ machine: any Machine) async {
    agent?.close()
    console.close()
    try? machine.kill()
    _ = await machine.ended()
  }

  private func connect() {
    do {
      let consoleSocket = try UnixSocket.connect(configuration.consoleSocketPath)
      try console.connect(consoleSocket, loop: loop) { _ in }
      let socket = try UnixSocket.connect(configuration.agentSocketPath)
      agent = try FrameConnection(loop: loop, descriptor: socket, role: .client(session: .random(in: 1 ... .max))) {
        [weak self] event in self?.assumeIsolated { $0.handle(event) }
      }
    } catch {
      finish(.failure(SupervisorError(userMessage(error))))
    }
  }

  private func handle(_ event: FrameConnection.Event) {
    switch event {
    case .opened:
      agent?.send(Frame(.request, stream: Self.prepareStream, payload: expected.encoded(as: .prepare)))
    case .frame(let frame) where frame.stream == Self.prepareStream && frame.type == .response:
      guard let response = try? Response(decoding: frame.payload) else {
        return finish(.failure(SupervisorError("the guest's answer makes no sense")))
      }
      finish(
        response.code == 0
          ? .success(()) : .failure(SupervisorError("the guest cannot be made a template of: \(response.text)")))
    case .frame, .drained: break
    case .closed(let reason):
      finish(.failure(SupervisorError("the guest's agent: \(reason ?? "it has gone"); \(console.tail())")))
    }
  }

  private func prepared(_ machine: any Machine) async -> Result<Void, SupervisorError> {
    let timer = loop.schedule(after: Self.timeout) { [weak self] in
      self?.assumeIsolated {
        $0.finish(.failure(SupervisorError("the guest did not answer within \(Self.timeout); \($0.console.tail())")))
      }
    }
    defer { loop.cancelTimer(timer) }
    return await withCheckedContinuation { continuation in
      if let outcome { continuation.resume(returning: outcome) } else { waiting = continuation }
    }
  }

  private func finish(_ outcome: Result<Void, SupervisorError>) {
    guard self.outcome == nil else { return }
    self.outcome = outcome
    waiting?.resume(returning: outcome)
    waiting = nil
  }
}
