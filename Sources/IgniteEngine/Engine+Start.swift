internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteNetwork
internal import IgniteStore
public import IgniteSupervisor
public import IgniteSystem
public import IgniteWire

/// A VM that was made to be started.
public struct VMToStart: Sendable {
  public let vm: VM
  let spare: ClaimedSpare?

  /// Gives up its spare; what runs of a VM that has been started is ended with the VM.
  public func abandon() { spare?.claim.abandon() }
}

/// A VM whose supervisor has just been started.
public struct StartedVM: Sendable {
  public let vm: VM
  /// What the supervisor tells; its end is read as the supervisor's end.
  let notices: NoticeReader
  let engine: Engine
  let template: LaunchPlan.Template?

  /// Waits until the main process runs. The template that was missing is then made, in the background: the start that
  /// misses it is not made slower by it.
  /// - Throws: SupervisorError with the exit status that the failure means.
  public func running() async throws {
    try await notices.await(.running)
    Timeline.add(await notices.marks)
    guard let template else { return }
    if await notices.message(of: .thawFailed) != nil {
      let (store, key) = (engine.templates, template.key)
      _ = try? await ThreadExecutor.run { () throws(HypervisorError) in try store.drop(key) }
    } else if template.isThawed {
      if vm.spec.volumes == nil, vm.spec.reclaimMemory != true {
        try? engine.fillWarmPoolInBackground(template.request, image: vm.spec.image.oci)
      }
      return
    }
    try? engine.buildTemplateInBackground(template.request, template.key)
  }
}

/// A spare that came to nothing once it had been claimed.
private struct SpareLost: Error {
  let reason: String
}

extension Engine {
  /// Starts a VM: its supervisor is up and listens when this returns, its guest still boots.
  ///
  /// - Parameters:
  ///   - waitsForClient: the main process is not started before a client has attached; when the caller goes away
  ///     before, so does the VM.
  ///   - cold: the kernel boots, whether there is a template or not.
  ///   - size: the terminal's, when the process has one.
  public func start(
    _ vm: VM, waitsForClient: Bool, size: TerminalSize = TerminalSize(columns: 80, rows: 24),
    accelerator: String? = nil, cold: Bool = false,
    notify: Notify
  ) async throws -> StartedVM {
    try await start(
      VMToStart(vm: vm, spare: nil), waitsForClient: waitsForClient, size: size, accelerator: accelerator, cold: cold,
      notify: notify)
  }

  /// Starts a VM that was made for it, on its spare where it has one.
  public func start(
    _ made: VMToStart, waitsForClient: Bool, size: TerminalSize = TerminalSize(columns: 80, rows: 24),
    accelerator: String? = nil, cold: Bool = false, notify: Notify
  ) async throws -> StartedVM {
    guard let spare = made.spare else {
      return try await start(
        made.vm, way: cold || made.vm.spec.cold == true ? .cold : .warm, waitsForClient: waitsForClient, size: size,
        accelerator: accelerator, notify: notify)
    }
    do {
      return try await start(
        made.vm, way: .spare(spare), waitsForClient: waitsForClient, size: size, accelerator: accelerator,
        notify: notify)
    } catch let lost as SpareLost {
      // It broke, or was ended, between two steps: its VM starts as any other.
      notify("the hypervisor that was started ahead is gone, another one is started: \(lost.reason)")
      spare.claim.abandon()
      let vm = try Self.vm(of: try await object(made.vm.metadata.uid))
      return try await start(
        vm, way: .warm, waitsForClient: waitsForClient, size: size, accelerator: accelerator, notify: notify)
    }
  }

  private func start(
    _ vm: VM, way: LaunchPlan.Way, waitsForClient: Bool, size: TerminalSize, accelerator: String?, notify: Notify
  ) async throws -> StartedVM {
    try checkNotPaused(vm)
    if vm.status.phase.isActive {
      throw EngineError(.wrongState, "the VM \"\(vm.metadata.name)\" is running already")
    }
    let uid = vm.metadata.uid
    let spare: ClaimedSpare? = if case .spare(let spare) = way { spare } else { nil }
    // A supervisor that is about to end holds the lock for a moment longer. A spare's holds it, and goes on.
    let lock = spare == nil ? try await lock(uid) : nil
    guard let stored = try await store.find(kind: VM.kind, uidPrefix: uid).first else {
      if lock != nil { unlink(paths.vmLock(uid)) }
      throw EngineError(.notFound, "the VM \"\(vm.metadata.name)\" has just been removed")
    }
    var vm = try Self.vm(of: stored)
    guard !vm.isDoomed else {
      throw EngineError(.wrongState, "the VM \"\(vm.metadata.name)\" is being removed")
    }
    let built: LaunchPlan
    do {
      try await admit(vm)
      try await claimVolumes(of: vm)
      built = try await LaunchPlan.make(
        engine: self, vm: vm, waitsForClient: waitsForClient, size: size, accelerator: accelerator, way: way,
        notify: notify)
    } catch {
      lock?.unlock()
      throw error
    }

    Timeline.mark("plan")
    CrashPoint.pass(.startPlanned)
    // First remember, then start.
    vm.spec.state = .running
    vm.status.phase = .starting
    vm.status.exitCode = nil
    vm.status.message = nil
    vm.status.startedAt = nil
    vm.status.finishedAt = nil
    vm.status.supervisorPID = nil
    vm.status.hypervisorPID = nil
    built.describe(&vm.status)
    do {
      vm = try await write(vm)
      Timeline.mark("remember")
      CrashPoint.pass(.startRemembered)
      let reader = try await built.begin(lock: lock)
      CrashPoint.pass(.startLaunched)
      try await reader.await(.listening)
      lock?.unlock()
      return StartedVM(vm: vm, notices: reader, engine: self, template: built.template)
    } catch {
      lock?.unlock()
      if spare != nil, !(error is CancellationError), var again = try? Self.vm(of: try await object(uid)) {
        again.status.phase = .created
        _ = try? await write(again)
        throw SpareLost(reason: userMessage(error))
      }
      // The lock is free and the phase Starting: the next look would call the supervisor lost. Say what was wrong.
      if var failed = try? Self.vm(of: try await object(uid)) {
        failed.status.phase = .failed
        failed.status.message = userMessage(error)
        failed.status.exitCode = 125
        _ = try? await write(failed)
      }
      throw error
    }
  }

  /// Waits for the VM's lock. A running supervisor never gives it up, so this is for VMs whose end is near.
  func lock(_ uid: String) async throws -> FileLock {
    let path = paths.vmLock(uid)
    for attempt in 0..<600 {
      try Task.checkCancellation()
      if let lock = try FileLock.tryLock(path) { return lock }
      if attempt == 0 { continue }
      try await Task.sleep(for: .milliseconds(min(5 * attempt, 100)))
    }
    throw EngineError(
      .wrongState, "the VM \(uid.prefix(12)) is held by another command or its supervisor",
      advice: "look with `ignite ps -a`, then try again")
  }

  /// A connection to the VM's supervisor.
  ///
  /// - Parameter evenPaused: for what can be asked of a paused VM, too; its guest does not answer.
  public func client(of vm: VM, loop: EventLoop, evenPaused: Bool = false) async throws -> SpawnClient {
    guard vm.status.phase.isActive else { throw notRunning(vm) }
    if !evenPaused { try checkNotPaused(vm) }
    do {
      return try await connect(to: vm, loop: loop)
    } catch let error as SystemError where Self.isAbsence(error) {
      throw EngineError(
        .wrongState, "the VM \"\(vm.metadata.name)\" takes no commands now",
        advice: "it is about to start or to end; try again",
        cause: error)
    }
  }

  /// A supervisor that is coming up, be it as a successor, holds the lock and does not listen yet.
  private func connect(to vm: VM, loop: EventLoop) async throws -> SpawnClient {
    let path = paths.vmRun(vm.metadata.uid) + "/spawn.sock"
    var attempts = 0
    while true {
      do {
        return try await SpawnClient.connect(path: path, loop: loop)
      } catch let error as SystemError where Self.isAbsence(error) {
        attempts += 1
        guard attempts < 100 else { throw error }
        if !FileLock.isHeld(paths.vmLock(vm.metadata.uid)) {
          // Its supervisor has just been lost: the look at it has another one take its place.
          let current = try await self.vm(vm.metadata.uid)
          guard current.status.phase.isActive else { throw notRunning(current) }
        }
        try await Task.sleep(for: .milliseconds(20))
      }
    }
  }

  /// Nobody listens, or who listened has gone before he took the connection: so between two lives of a VM.
  private static func isAbsence(_ error: SystemError) -> Bool {
    [ENOENT, ECONNREFUSED, ECONNRESET].contains(error.code)
  }

  func notRunning(_ vm: VM) -> EngineError {
    EngineError(
      .wrongState, "the VM \"\(vm.metadata.name)\" is not running", advice: "start it: ignite start \(vm.metadata.name)"
    )
  }
}
