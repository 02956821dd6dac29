internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

/// What `wait` waits for.
public enum WaitCondition: String, CaseIterable, Sendable {
  case stopped, running, healthy, removed
}

extension Engine {
  /// Ends a VM: its stop signal, a grace, then the end. One that does not run is left as it is.
  ///
  /// - Parameter grace: nil gives a process ten seconds, and a machine, whose init has services to end, ninety.
  /// - Parameter keepsWish: it is to run again when the host does; its spec is left as it is.
  public func stop(_ vm: VM, signal: Int32 = 0, grace: Duration? = nil, keepsWish: Bool = false) async throws {
    var vm = vm
    if vm.spec.state != .stopped, !keepsWish {
      vm.spec.state = .stopped
      // A status that was written in between does not matter to the wish.
      vm = (try? await write(vm)) ?? vm
    }
    CrashPoint.pass(.stopRemembered)
    guard vm.status.phase.isActive else { return }
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let usual: Duration =
      vm.spec.stopTimeout.map { .seconds($0) } ?? ((try? isMachine(vm)) == true ? .seconds(90) : .seconds(10))
    repeat {
      let client: SpawnClient
      do {
        client = try await self.client(of: vm, loop: loop, evenPaused: true)
      } catch let error as EngineError where error.code == .wrongState {
        // It has ended, or is just coming up; its lock tells when there is nothing left to end.
        return try await ended(vm)
      }
      do {
        try await client.stop(signal: signal, grace: grace ?? usual)
      } catch is SupervisorGone {
        // Between two lives of the VM, perhaps.
      }
      CrashPoint.pass(.stopAsked)
      await client.closed()
    } while try await beganAnew(vm)
  }

  /// Whether a supervisor that has closed a connection listens again, for its VM has just been started anew; false once it
  /// has ended.
  private func beganAnew(_ vm: VM) async throws -> Bool {
    while true {
      if !FileLock.isHeld(paths.vmLock(vm.metadata.uid)) { return false }
      if let probe = try? UnixSocket.connect(paths.vmRun(vm.metadata.uid) + "/spawn.sock") {
        probe.close()
        return true
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Sends a signal to the VM's main process.
  public func kill(_ vm: VM, signal: Int32) async throws {
    guard vm.status.phase.isActive else { throw notRunning(vm) }
    if signal != SIGKILL { try checkNotPaused(vm, "takes no signal but KILL") }
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await client(of: vm, loop: loop, evenPaused: true)
    try await client.kill(signal: signal)
    await client.close()
  }

  /// Gives a VM another name. Its host name stays.
  public func setName(of vm: VM, to name: String) async throws {
    if let problem = ObjectName.problem(with: name) {
      throw EngineError(.invalidArgument, "the name \"\(name)\" cannot be taken: \(problem)")
    }
    guard name != vm.metadata.name else {
      throw EngineError(.invalidArgument, "the VM is named \"\(name)\" already")
    }
    guard vm.status.phase != .removing else {
      throw EngineError(.wrongState, "the VM \"\(vm.metadata.name)\" is being removed")
    }
    // Its status may be written meanwhile: the name goes onto what is there.
    var renamed = vm
    for _ in 0..<8 {
      renamed.metadata.name = name
      do {
        _ = try await write(renamed)
        var attributes = Self.attributes(of: renamed)
        attributes["oldName"] = vm.metadata.name
        await note(Event("vm", "rename", id: vm.metadata.uid, attributes: attributes))
        return
      } catch let error as StoreError where error.code == .conflict {
        renamed = try Self.vm(of: try await object(vm.metadata.uid))
      } catch let error as StoreError where error.code == .alreadyExists {
        throw EngineError(
          .alreadyExists, "the name \"\(name)\" is taken by another VM",
          advice: "choose another, or remove that one: ignite rm \(name)")
      }
    }
    throw EngineError(
      .unavailable, "the VM \"\(vm.metadata.name)\" is being changed by other commands", advice: "try again")
  }

  /// Waits until the VM has ended, however long that takes, and returns it as it is then.
  public func wait(_ vm: VM) async throws -> VM {
    let path = paths.vmLock(vm.metadata.uid)
    var pause = Duration.milliseconds(5)
    while true {
      if !FileLock.isHeld(path) {
        // Where its supervisor was lost, another one takes its place now.
        let current = try await self.vm(vm.metadata.uid)
        if !current.status.phase.isActive { return current }
      }
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(200))
    }
  }

  /// Waits until the VM is so; it must be able to become it still.
  public func wait(_ vm: VM, until condition: WaitCondition) async throws {
    if condition == .stopped { return _ = try await wait(vm) }
    while true {
      let current: VM
      do {
        current = try await self.vm(vm.metadata.uid)
      } catch let error as EngineError where error.code == .notFound && condition == .removed {
        return
      }
      switch condition {
      case .running where current.status.phase == .running: return
      case .healthy where current.status.health == "healthy": return
      case .running, .healthy:
        guard current.status.phase.isActive || current.status.phase == .created else {
          throw EngineError(
            .wrongState, "the VM \"\(vm.metadata.name)\" has ended before it was \(condition.rawValue)",
            advice: "look at what it wrote: ignite logs \(vm.metadata.name)")
        }
        let image = try imageOfVM(vm.metadata.uid).config.config.healthcheck
        if condition == .healthy, HealthChoice.plan(current.spec.health, image: image) == nil {
          throw EngineError(
            .wrongState, "the VM \"\(vm.metadata.name)\" has no health check", advice: "give it one: --health-cmd")
        }
      case .stopped, .removed: break
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Waits for the supervisor's end.
  func ended(_ vm: VM) async throws {
    let lock = try await lock(vm.metadata.uid)
    lock.unlock()
  }

  /// Removes a VM with its disk and log. A running one is refused unless `force`, which ends it.
  ///
  /// - Parameter volumes: the volumes that were made for it alone go too.
  public func remove(_ vm: VM, force: Bool = false, volumes: Bool = false) async throws {
    guard force || !vm.status.phase.isActive else {
      throw EngineError(
        .wrongState, "the VM \"\(vm.metadata.name)\" is \(vm.status.phase == .paused ? "paused" : "running")",
        advice: "stop it first (ignite stop \(vm.metadata.name)), or remove it with -f")
    }
    if force, let doomed = try await doom(vm), doomed.status.phase.isActive {
      try await stop(doomed, signal: SIGKILL, grace: .zero, keepsWish: true)
    }
    try await removeNow(vm, volumes: volumes)
  }

  /// From now on nobody starts the VM, and it is gone once it has ended; nil where it is gone already.
  private func doom(_ vm: VM) async throws -> VM? {
    let object = try await store.markDeleted(uid: vm.metadata.uid, at: Date(), finalizer: "ignite.weave.works/machine")
    guard let object else { return nil }
    return try await refreshed(try Self.vm(of: object), object: object)
  }

  /// Takes away all that a VM has; what is gone already is no error. Remembered first, so that a crash in between
  /// leaves a VM in `Removing`, which `rm` takes away.
  func removeNow(_ vm: VM, volumes: Bool = false) async throws {
    let uid = vm.metadata.uid
    let lock = try await lock(uid)
    defer { lock.unlock() }
    guard let object = try await store.find(kind: VM.kind, uidPrefix: uid).first else {
      // Another command was first, and its lock's file has just been made again.
      unlink(paths.vmLock(uid))
      return
    }
    var current = try Self.vm(of: object)
    if current.status.phase != .removing {
      current.status.phase = .removing
      current = (try? await write(current)) ?? current
    }
    CrashPoint.pass(.removeRemembered)
    try await endRemains(of: current)
    CrashPoint.pass(.removeEnded)
    await keepEvents(of: current)
    let data = paths.vmData(uid)
    let run = paths.vmRun(uid)
    let plans = paths.plans(uid)
    let shares = paths.vmShares(uid)
    try await ThreadExecutor.run { () throws -> Void in
      try FileTree.remove(shares)
      try FileTree.remove(data)
      try FileTree.remove(plans)
      try FileTree.remove(run)
    }
    CrashPoint.pass(.removeFiles)
    if volumes || current.spec.autoRemove { try await removeAnonymousVolumes(of: current) }
    try await store.delete(uid: uid)
    CrashPoint.pass(.removeForgotten)
    unlink(paths.vmLock(uid))
  }

  /// A VM that asked to be removed at its end (`--rm`) and has ended, or whose removal was cut short, goes here.
  func takeAwayIfDue(_ vm: VM) async throws -> Bool {
    let due =
      vm.status.phase == .removing || (vm.isDoomed && !vm.status.phase.isActive)
      || (vm.spec.autoRemove && [.stopped, .failed].contains(vm.status.phase))
    guard due, !FileLock.isHeld(paths.vmLock(vm.metadata.uid)) else { return false }
    try await removeNow(vm)
    return true
  }
}

extension VM {
  /// Its removal has begun: nobody starts it any more.
  public var isDoomed: Bool { status.phase == .removing || metadata.deletionTimestamp != nil }
}
