internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// Starts a supervisor in the place of one that was lost: it goes on with the hypervisor, or, where there is none any
  /// more and the VM's policy says so, with another. The caller holds the VM's lock, which the successor takes over.
  /// - Returns: why there can be none; nil where the VM goes on.
  func replaceSupervisor(of vm: VM, lock: FileLock) async -> String? {
    do {
      let left = try leftRunning(of: vm)
      let again = try restart(of: vm)
      guard let left = left?.successor else {
        if let again {
          try await startAgain(vm, again, lock: lock)
          return nil
        }
        return left == nil ? "its hypervisor has ended, too" : "its process did not run yet"
      }
      // Where the machine ends while it is found again, the policy counts that is in force now.
      let launch = try await relaunch(vm) { plan in
        plan.successor = left
        plan.restart = again
      }
      try await launch.launch(lock: lock, template: nil, isSuccessor: true).await(.running)
      return nil
    } catch {
      return userMessage(error)
    }
  }

  /// The next start of a VM that is lost with its supervisor, by its policy; nil where there is none. After a reboot of the
  /// host nothing is started before `system start` asks for it.
  private func restart(of vm: VM) throws -> SpawnPlan.Restart? {
    guard let policy = vm.spec.restart, vm.spec.state != .stopped else { return nil }
    let wants =
      switch policy.policy {
      case .never: false
      case .always, .unlessStopped: true
      case .onFailure: policy.max == 0 || Self.restartsBehind(vm) < policy.max
      }
    guard wants, try SupervisorLaunch.read(plans: paths.plans(vm.metadata.uid)).boot == HostBoot.id else { return nil }
    let entries = try Journal.read(path: paths.journal(vm.metadata.uid), from: 0).entries
    guard entries.contains(where: { $0.event == .running || $0.event == .restarting }) else { return nil }
    return SpawnPlan.Restart(policy: policy.policy.rawValue, limit: policy.max)
  }

  /// How often it was started again; a start that is due next is counted by the status already.
  private static func restartsBehind(_ vm: VM) -> Int {
    max(0, vm.status.restarts - (vm.status.phase == .restarting ? 1 : 0))
  }

  private func startAgain(_ vm: VM, _ restart: SpawnPlan.Restart, lock: FileLock) async throws {
    try await endRemains(of: vm)
    // One that was waited for has been counted.
    let count = max(1, vm.status.restarts + (vm.status.phase == .restarting ? 0 : 1))
    let launch = try await relaunch(vm) { plan in
      plan.successor = nil
      plan.restart = restart
    }
    try await launch.launch(lock: lock, template: nil, restarts: Restarts(count: count)).await(.listening)
  }

  /// The plan of the last start, written anew with a change.
  private func relaunch(
    _ vm: VM, _ change: @escaping @Sendable (inout SpawnPlan) -> Void
  ) async throws -> SupervisorLaunch {
    let (plans, path) = (paths.plans(vm.metadata.uid), paths.plan(vm.metadata.uid))
    return try await ThreadExecutor.run { () throws -> SupervisorLaunch in
      let launch = try SupervisorLaunch.read(plans: plans)
      var plan = try SpawnPlan.read(path: path)
      plan.spare = nil
      // Should it be started again, it boots: a template's files are not at hand any more.
      plan.template = nil
      plan.waitsForClient = false
      change(&plan)
      try launch.write(plan)
      return launch
    }
  }

  private struct LeftRunning {
    /// nil where there is a machine that nothing can be made of.
    var successor: SpawnPlan.Successor?
  }

  /// What the journal says of the last start, as far as it runs still.
  private func leftRunning(of vm: VM) throws -> LeftRunning? {
    let entries = try Journal.read(path: paths.journal(vm.metadata.uid), from: 0).entries
    let start = entries.lastIndex { $0.event == .starting } ?? entries.startIndex
    let last = entries[start...]
    // The journal is the VM's user's: a process that is not his is none of the VM.
    guard let hypervisor = last.compactMap(\.hypervisor).last, isOwn(hypervisor, of: vm),
      try ProcessHandle.open(hypervisor) != nil
    else { return nil }
    guard last.contains(where: { $0.event == .running }) else { return LeftRunning() }
    let isPaused = last.last { $0.event == .paused || $0.event == .resumed }?.event == .paused
    return LeftRunning(
      successor: SpawnPlan.Successor(hypervisor: hypervisor, isPaused: isPaused, restarts: Self.restartsBehind(vm)))
  }
}
