internal import IgniteHypervisor
internal import IgniteSystem

/// Taking the place of a supervisor that was lost: its hypervisor runs on, and its guest keeps what it has to tell.
extension Supervisor {
  private static let answerTimeout: Duration = .seconds(60)

  /// Finds the machine again, and goes on with its process, its console and its log.
  ///
  /// passt is let alone: it ends with the hypervisor, and may hide from whoever is not its parent.
  func takeOver(_ left: SpawnPlan.Successor) async throws {
    // It ran before: where it cannot be found again, it is started again by its policy.
    restarts.count = left.restarts
    restarts.began()
    console = try Console(path: plan.paths.console)
    guard let machine = try await hypervisor.adopt(left.hypervisor, configuration: plan.machine) else {
      throw SupervisorError("its hypervisor has ended, too")
    }
    self.machine = machine
    machines = 1
    main.requested = true
    phase = .running
    pause.isWanted = left.isPaused
    pause.isDone = left.isPaused
    connect()
    if let connectionFailure { throw connectionFailure }
    watch(machine, number: machines)
    // One that stands still answers when it goes on.
    if !left.isPaused {
      let timer = loop.schedule(after: Self.answerTimeout) { [weak self] in
        self?.assumeIsolated { $0.fail("its guest did not answer within \(Self.answerTimeout)\($0.consoleTail())") }
      }
      await until { agentOpen }
      loop.cancelTimer(timer)
    }
    guard outcome == nil else { return }
    beginHealth()
  }
}
