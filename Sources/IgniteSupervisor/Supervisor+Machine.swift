internal import IgniteHypervisor
internal import IgniteNetwork
internal import IgniteSystem

/// Bringing the machine up: thawed from a template where there is one, booted else.
extension Supervisor {
  /// Machines that are started for one start, where the first ones are of no use.
  private static let mostBoots = 4
  /// A guest under emulation on a loaded machine may take tens of seconds.
  private static let bootTimeout: Duration = .seconds(180)
  /// A thawed one answers in some ten milliseconds; hundreds at once share the host's processors.
  private static let thawTimeout: Duration = .seconds(60)

  /// Starts network and hypervisor, side by side; the machine runs when it returns.
  func startMachine() async throws {
    let (attachment, begun) = try await beginNetwork()
    CrashPoint.pass(.supervisorNetwork)
    machines += 1
    let number = machines
    agentOpen = false
    networkIsReady = false
    connectionFailure = nil
    async let network: Void = finishNetwork(begun)
    let started = try await startHypervisor(attachment)
    Timeline.mark(frozen == nil ? "hypervisor" : "thaw")
    machine = started
    CrashPoint.pass(.supervisorMachine)
    do {
      try await network
      if let connectionFailure { throw connectionFailure }
    } catch {
      try? started.kill()
      _ = await started.ended()
      machine = nil
      // Another machine would find the same network.
      frozen = nil
      throw error
    }
    Timeline.mark("network")
    guard outcome == nil else { return }
    phase = plan.spare == nil ? .booting : .spare
    networkIsReady = true
    watch(started, number: number)
    configureWhenReady()
    watchBoot(number)
    try await noteBooted(started)
  }

  func noteBooted(_ machine: any Machine) async throws {
    var booted = self.entry(.booted)
    booted.hypervisor = machine.identity
    booted.network = self.network?.identity
    booted.template = frozen == nil ? nil : plan.template
    try await journal.append(booted, waits: false)
    CrashPoint.pass(.supervisorBooted)
  }

  private func startHypervisor(_ attachment: NetworkAttachment) async throws -> any Machine {
    let connect: @Sendable () async -> Void = { await self.connect() }
    // Whatever cgroup, root and user this process was put into, its children share.
    let confinement = MachineConfinement()
    guard let frozen else {
      return try await hypervisor.start(
        plan.machine, network: attachment, confinement: confinement, whenListening: connect)
    }
    return try await hypervisor.thaw(
      frozen, plan.machine, network: attachment, confinement: confinement, whenListening: connect)
  }

  /// What the machine's card is connected to, which need not be ready for the machine to start.
  private func beginNetwork() async throws -> (NetworkAttachment, NetworkProcess.Begun?) {
    switch plan.network {
    case .none: return (.none, nil)
    case .restricted(let ports):
      let forwards = ports.compactMap { port in
        port.hostPort.map {
          PortForward(
            isUDP: port.transport == .udp, hostAddress: port.address ?? "", hostPort: $0, guestPort: port.vmPort)
        }
      }
      return (.user(restricted: true, ports: forwards), nil)
    case .passt(let settings):
      if plan.spare != nil { spare.frames = try NetworkProcess.Frames() }
      let begun = try await NetworkProcess.begin(settings, frames: spare.frames)
      return (.stream(begun.socket), begun)
    }
  }

  func finishNetwork(_ begun: NetworkProcess.Begun?) async throws {
    guard let begun, case .passt(let settings) = plan.network else { return }
    network = try await NetworkProcess.ready(begun, settings, loop: loop)
  }

  func connect() {
    do {
      try connectConsole()
      try connectAgent()
    } catch {
      connectionFailure = error
    }
  }

  func watch(_ machine: any Machine, number: Int) {
    Task { [weak self] in
      let end = await machine.ended()
      await self?.machineEnded(end, number: number)
    }
  }

  private func machineEnded(_ end: MachineEnd, number: Int) async {
    guard number == machines else { return }
    if frozen != nil, phase == .booting, outcome == nil {
      return await bootAfterAll("it ended before it was configured\(end.explanation)")
    }
    // Its init found that the kernel is of no use, before anything of the image ran (`lacksTimer` in ignite-init).
    if frozen == nil, phase == .booting, !agentOpen, outcome == nil, end.isOrderly, machines < Self.mostBoots {
      return await bootAgain()
    }
    machineEnded(end)
  }

  func watchBoot(_ number: Int) {
    let limit = frozen == nil ? Self.bootTimeout : Self.thawTimeout
    loop.schedule(after: limit) { [weak self] in
      self?.assumeIsolated { supervisor in
        guard supervisor.phase == .booting, supervisor.machines == number, !supervisor.attachIsAwaited else { return }
        guard supervisor.frozen == nil else {
          // Its end is noticed, and the VM booted.
          try? supervisor.machine?.kill()
          return
        }
        supervisor.fail("the guest did not answer within \(limit)\(supervisor.consoleTail())")
      }
    }
  }

  /// A template that does not thaw is told of and not tried again; the VM goes on without it.
  func bootInstead(_ reason: String) async {
    frozen = nil
    await putMachineAway()
    console?.note(Array("ignite: the template did not thaw, booting instead: \(reason)\n".utf8))
    tell(SpawnNotice(.thawFailed, message: reason))
  }

  private func bootAgain() async {
    await putMachineAway()
    console?.note(Array("ignite: booting again\n".utf8))
    do {
      try await startMachine()
    } catch {
      fail(userMessage(error))
    }
  }

  /// What is left of a machine that has ended, before another one takes its place.
  private func putMachineAway() async {
    agent?.close()
    agent = nil
    agentOpen = false
    main.requested = false
    console?.close()
    phase = .starting
    Timeline.remove(["network", "hypervisor", "thaw", "boot"])
    await network?.end()
    network = nil
    machine = nil
  }

  private func bootAfterAll(_ reason: String) async {
    await bootInstead(reason)
    do {
      try await startMachine()
    } catch {
      fail(userMessage(error))
    }
  }
}
