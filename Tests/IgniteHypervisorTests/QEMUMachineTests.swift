import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

/// A real QEMU with a kernel of some bytes.
@Suite struct QEMUMachineTests {
  let scratch = HypervisorScratch()

  private func configuration(_ kernel: [UInt8]) throws -> MachineConfiguration {
    MachineConfiguration(
      kernelPath: try scratch.write("kernel", kernel), memoryBytes: 128 << 20,
      drives: [
        .init(id: "disk", path: try scratch.write("disk", [UInt8](repeating: 0, count: 65_536)), readOnly: false)
      ],
      agentSocketPath: "\(scratch.path)/agent.sock", controlSocketPath: "\(scratch.path)/qmp.sock",
      consoleSocketPath: "\(scratch.path)/console.sock", timestampCounterKilohertz: 2_000_000)
  }

  @Test func aMachineFromStartToQuit() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let configuration = try configuration(TinyKernel.idle)
    let hypervisor = try QEMUHypervisor(loop: loop)
    let machine = try await hypervisor.start(configuration, network: .none, confinement: MachineConfinement())
    #expect(try await machine.status() == .running)
    try await machine.pause()
    #expect(try await machine.status() == .paused)
    try await machine.resume()
    #expect(try await machine.status() == .running)
    try await machine.powerButton()
    let memory = try await machine.memory()
    #expect(memory.size == 128 << 20)
    #expect(memory.resident > 1 << 20)
    // The agent's socket takes connections whenever they come, one after another.
    for _ in 0..<2 { _ = try UnixSocket.connect(configuration.agentSocketPath) }
    try await machine.quit()
    let end = await machine.ended()
    #expect(end.exitStatus == .exited(0))
    #expect(end.reason == .hostQuit)
    #expect(end.explanation == " (host-qmp-quit)")
    var events: [MachineEvent] = []
    for await event in machine.events { events.append(event) }
    #expect(events == [.resumed, .paused, .resumed, .shutDown(.hostQuit), .closed])
    let error = await #expect(throws: HypervisorError.self) { try await machine.status() }
    #expect(error?.code == .gone)
  }

  /// Freezes a machine and thaws two from it, with disks of their own; then a state that makes no sense.
  @Test func frozenAndThawed() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let hypervisor = try QEMUHypervisor(loop: loop)
    let configuration = try configuration(TinyKernel.idle)
    let memory = try MemoryFile.make("test")
    #expect(ftruncate(memory.number, 128 << 20) == 0)
    let machine = try await hypervisor.startFreezable(configuration, memory: memory, confinement: MachineConfinement())
    {}
    #expect(try await machine.status() == .running)
    let state = try await machine.freeze(through: scratch.path + "/state.sock", user: nil)
    #expect(access(scratch.path + "/state.sock", F_OK) != 0)
    try machine.kill()
    _ = await machine.ended()
    try MemoryFile.seal(memory)

    var clones: [any Machine] = []
    for number in 0..<2 {
      var clone = configuration
      clone.drives[0].path = try scratch.write("disk\(number)", [UInt8](repeating: 1, count: 65_536))
      clone.controlSocketPath += "\(number)"
      clone.agentSocketPath += "\(number)"
      clone.consoleSocketPath += "\(number)"
      let file = try FileDescriptor.open(try scratch.write("state", state), O_RDONLY)
      let thawed = try await hypervisor.thaw(
        FrozenMachine(memory: memory, state: file), clone, network: .user(restricted: true, ports: []),
        confinement: MachineConfinement()
      ) {}
      #expect(try await thawed.status() == .running)
      clones.append(thawed)
    }
    for clone in clones {
      #expect(try await clone.memory().size == 128 << 20)
      try await clone.quit()
      #expect(await clone.ended().exitStatus == .exited(0))
    }

    let nonsense = try FileDescriptor.open(
      try scratch.write("nonsense", [UInt8](repeating: 120, count: state.count)), O_RDONLY)
    let error = await #expect(throws: HypervisorError.self) {
      try await hypervisor.thaw(
        FrozenMachine(memory: memory, state: nonsense), configuration, network: .neutral,
        confinement: MachineConfinement()
      ) {}
    }
    #expect(error?.code == .startFailed && error?.message.contains("migration") == true, "\(String(describing: error))")
    #expect(access(configuration.controlSocketPath, F_OK) != 0)
  }

  @Test func aRebootEndsIt() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let hypervisor = try QEMUHypervisor(loop: loop)
    let configuration = try configuration(TinyKernel.reset)
    let machine = try await hypervisor.start(configuration, network: .none, confinement: MachineConfinement())
    let end = await machine.ended()
    #expect(end.exitStatus == .exited(0))
    #expect(end.isOrderly)
    #expect(end.reason == .guestReset)
  }

  /// QEMU as a supervisor leaves it that has died: running, its sockets listening, nobody connected.
  @Test func aSuccessorTakesItUp() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let configuration = try configuration(TinyKernel.idle)
    let hypervisor = try QEMUHypervisor(loop: loop)
    let sockets = try [configuration.controlSocketPath, configuration.agentSocketPath, configuration.consoleSocketPath]
      .map { try UnixSocket.listen($0) }
    let process = try launch(
      LaunchRequest(
        executable: hypervisor.program, arguments: ["qemu"] + QEMUArguments(configuration, .none).build(),
        descriptors: zip(sockets, [3, 4, 5]).map { .init(source: $0.number, place: $1) }))
    defer { try? process.kill() }
    for socket in sockets { socket.close() }
    let machine = try #require(try await hypervisor.adopt(process.identity, configuration: configuration))
    #expect(try await machine.status() == .paused)
    try await machine.resume()
    #expect(try await machine.status() == .running)
    try machine.kill()
    #expect(await machine.ended().exitStatus == nil)
    #expect(await process.exited(on: loop) == .signalled(SIGKILL))
  }

  @Test func whatIsGoneIsNotTakenUp() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let configuration = try configuration(TinyKernel.idle)
    let hypervisor = try QEMUHypervisor(loop: loop)
    let first = try await hypervisor.start(configuration, network: .none, confinement: MachineConfinement())
    try first.kill()
    let end = await first.ended()
    #expect(end.exitStatus == .signalled(SIGKILL))
    #expect(try await hypervisor.adopt(first.identity, configuration: configuration) == nil)
  }

  @Test func aDiskServesOneMachine() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let hypervisor = try QEMUHypervisor(loop: loop)
    var configuration = try configuration(TinyKernel.idle)
    let machine = try await hypervisor.start(configuration, network: .none, confinement: MachineConfinement())
    configuration.controlSocketPath += "2"
    configuration.agentSocketPath += "2"
    configuration.consoleSocketPath += "2"
    let other = configuration
    let error = await #expect(throws: HypervisorError.self) {
      try await hypervisor.start(other, network: .none, confinement: MachineConfinement())
    }
    #expect(error?.code == .startFailed)
    #expect(error?.advice == "stop the other machine that uses this disk")
    // Nothing is left of the second.
    #expect(access(other.controlSocketPath, F_OK) != 0)
    try machine.kill()
    _ = await machine.ended()
  }

  @Test func aFailureToStartSaysWhy() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let hypervisor = try QEMUHypervisor(loop: loop)
    var configuration = try configuration([1, 2, 3])
    configuration.kernelPath = "/no/such/kernel"
    let broken = configuration
    let error = await #expect(throws: HypervisorError.self) {
      try await hypervisor.start(broken, network: .none, confinement: MachineConfinement())
    }
    #expect(error?.code == .startFailed)
    #expect(error?.message.contains("/no/such/kernel") == true)
    #expect(error?.advice == "import a kernel with 'ignite kernel import'")

    let missing = try QEMUHypervisor(program: "/no/qemu", loop: loop)
    let gone = await #expect(throws: HypervisorError.self) {
      try await missing.start(broken, network: .none, confinement: MachineConfinement())
    }
    #expect(gone?.description.contains("check that /no/qemu is installed") == true)
    #expect(throws: HypervisorError.self) { try missing.version() }
    #expect(try hypervisor.version().contains("."))
  }

  @Test func anIsolatedMachineHasNoRights() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let hypervisor = try QEMUHypervisor(loop: loop)
    let configuration = try configuration(TinyKernel.idle)
    chmod(scratch.path, 0o755)
    chmod(configuration.kernelPath, 0o644)
    chown("\(scratch.path)/disk", 61_300, 61_300)
    let isolation = Isolation(
      uid: 61_300, gid: 61_300,
      mounts: QEMUHypervisor.mounts(program: hypervisor.program, kvm: false)
        + [.bind(source: scratch.path, target: scratch.path, .writable)])
    let machine = try await hypervisor.start(
      configuration, network: .none, confinement: MachineConfinement(isolation: isolation))
    #expect(try await machine.status() == .running)
    let status = HostHardware.text(of: "/proc/\(machine.identity.pid)/status") ?? ""
    #expect(status.contains("Uid:\t61300\t61300\t61300\t61300"))
    #expect(status.contains("CapEff:\t0000000000000000"))
    #expect(status.contains("NoNewPrivs:\t1"))
    #expect(status.contains("Seccomp:\t2"))
    #expect(access("/proc/\(machine.identity.pid)/root/etc/shadow", F_OK) != 0)
    try machine.kill()
    _ = await machine.ended()
  }
}
