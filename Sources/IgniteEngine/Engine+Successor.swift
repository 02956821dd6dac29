internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// Starts a supervisor in the place of one that was lost. The caller holds the VM's lock, which the successor takes
  /// over.
  /// - Returns: why there can be none; nil where the VM goes on.
  func replaceSupervisor(of vm: VM, lock: FileLock) async -> String? {
    do {
      guard let left = try leftRunning(of: vm) else { return "its hypervisor has ended, too" }
      guard let left = left.successor else { return "its process did not run yet" }
      let (plans, path) = (paths.plans(vm.metadata.uid), paths.plan(vm.metadata.uid))
      let launch = try await ThreadExecutor.run { () throws -> SupervisorLaunch in
        let launch = try SupervisorLaunch.read(plans: plans)
        var plan = try SpawnPlan.read(path: path)
        plan.successor = left
        plan.spare = nil
        // Should it be started again, it boots: a template's files are not at hand any more.
        plan.template = nil
        plan.waitsForClient = false
        try launch.write(plan)
        return launch
      }
      try await launch.launch(lock: lock, template: nil, isSuccessor: true).await(.running)
      return nil
    } catch {
      return userMessage(error)
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
      successor: SpawnPlan.Successor(hypervisor: hypervisor, isPaused: isPaused, restarts: vm.status.restarts))
  }
}
