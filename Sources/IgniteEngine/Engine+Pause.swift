public import IgniteAPI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// Halts a running VM where it is; it stands still when this returns.
  public func pause(_ vm: VM) async throws {
    try checkNotPaused(vm, "cannot be paused again")
    guard vm.status.phase.isActive else { throw notRunning(vm) }
    guard vm.status.phase == .running else {
      throw EngineError(
        .wrongState, "the VM \"\(vm.metadata.name)\" is still starting: only one that runs can be paused",
        advice: "try again when `ignite ps` calls it up")
    }
    try await wish(.paused, of: vm) { client in try await client.pause() }
  }

  /// Lets a paused VM go on; its wall clock is right when this returns.
  ///
  /// - Returns: a warning where the clock is not right; nil when it is.
  public func unpause(_ vm: VM) async throws -> String? {
    guard vm.status.phase == .paused else {
      guard vm.status.phase.isActive else { throw notRunning(vm) }
      throw EngineError(
        .wrongState, "the VM \"\(vm.metadata.name)\" is not paused", advice: "look with `ignite ps` at what runs")
    }
    let warning = try await wish(.running, of: vm) { client in try await client.unpause() }
    return warning.map { "the VM \"\(vm.metadata.name)\" runs again, but \($0)" }
  }

  /// - Parameter consequence: what a paused VM does not do.
  func checkNotPaused(_ vm: VM, _ consequence: String? = nil) throws {
    guard vm.status.phase == .paused else { return }
    throw EngineError(
      .wrongState,
      "the VM \"\(vm.metadata.name)\" is paused" + (consequence.map { " and \($0)" } ?? ""),
      advice: "let it go on first: ignite unpause \(vm.metadata.name)")
  }

  /// Remembers what the VM is to be, then asks its supervisor; the wish goes again when that refuses.
  private func wish<Result: Sendable>(
    _ state: DesiredState, of vm: VM, _ body: (SpawnClient) async throws -> Result
  ) async throws -> Result {
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await client(of: vm, loop: loop, evenPaused: true)
    await remember(state, of: vm)
    CrashPoint.pass(.pauseRemembered)
    do {
      let result = try await body(client)
      await client.close()
      return result
    } catch {
      await client.close()
      // Another command may have wished since then.
      await remember(vm.spec.state, of: vm, insteadOf: state)
      throw named(error, vm)
    }
  }

  /// The status may be written meanwhile: the wish goes onto what is there. What cannot be written does not matter to the
  /// VM, as with `stop`.
  private func remember(_ state: DesiredState, of vm: VM, insteadOf other: DesiredState? = nil) async {
    for _ in 0..<8 {
      guard var current = try? await self.vm(vm.metadata.uid), current.spec.state != state,
        other == nil || current.spec.state == other
      else { return }
      current.spec.state = state
      do {
        _ = try await write(current)
        return
      } catch let error as StoreError where error.code == .conflict {
        continue
      } catch { return }
    }
  }

  /// A supervisor knows no names, and may be older than this program.
  private func named(_ error: any Error, _ vm: VM) -> any Error {
    guard let error = error as? SupervisorError else { return error }
    if error.message.contains("does not know") {
      return EngineError(
        .unavailable, "the VM \"\(vm.metadata.name)\" was started by an older ignite, which cannot do this",
        advice: "start it anew: ignite restart \(vm.metadata.name)", cause: error)
    }
    return EngineError(
      .wrongState, "\"\(vm.metadata.name)\": \(error.message)", advice: "look with `ignite ps -a`", cause: error)
  }
}
