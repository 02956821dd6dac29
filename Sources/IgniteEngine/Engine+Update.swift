internal import FoundationEssentials
public import IgniteAPI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

/// What `update` changes of a VM; nil leaves it.
public struct VMUpdate: Sendable {
  public var restart: VMSpec.Restart?
  /// Labels to set, and keys of those to take away.
  public var labels: [String: String] = [:]
  public var removedLabels: [String] = []
  public var stopTimeout: Int?
  /// It is the usual one again.
  public var usualStopTimeout = false
  public var annotations: [String: String] = [:]
  /// What it belongs to from now on.
  public var owners: [ObjectReference]?
  public var updatePolicy: UpdatePolicy?
  public var pullPolicy: PullPolicy?
  /// All of them: what is nil in it is no limit.
  public var limits: VMSpec.Limits?

  public init() {}
}

extension Engine {
  /// Changes a VM; what runs goes by it from now on.
  public func update(_ vm: VM, _ update: VMUpdate) async throws {
    if update.restart.map({ $0.policy != .never }) == true, vm.spec.autoRemove {
      throw EngineError(
        .invalidArgument, "the VM \"\(vm.metadata.name)\" is removed when its process has ended (--rm)",
        advice: "a VM that is started again has to be made without --rm")
    }
    var limits = update.limits
    if let millis = limits?.cpuMillis, millis >= vm.spec.resources.cpus * 1000 {
      guard millis == vm.spec.resources.cpus * 1000 else {
        throw EngineError(
          .invalidArgument,
          "the VM \"\(vm.metadata.name)\" has \(vm.spec.resources.cpus) virtual processors, and cannot use more of the host's",
          advice: "give --cpus \(vm.spec.resources.cpus) at most, or make it anew")
      }
      limits?.cpuMillis = nil
    }
    if let wanted = limits { limits = try checked(wanted) }
    var changed = vm
    // Its status may be written meanwhile: the change goes onto what is there.
    for attempt in 0... {
      if let restart = update.restart { changed.spec.restart = restart.policy == .never ? nil : restart }
      if let limits { changed.spec.limits = limits.isEmpty ? nil : limits }
      if let timeout = update.stopTimeout { changed.spec.stopTimeout = timeout }
      if update.usualStopTimeout { changed.spec.stopTimeout = nil }
      if let policy = update.updatePolicy { changed.spec.updatePolicy = policy }
      if let policy = update.pullPolicy { changed.spec.image.pullPolicy = policy }
      if let owners = update.owners { changed.metadata.ownerReferences = owners }
      if !update.annotations.isEmpty {
        changed.metadata.annotations = (changed.metadata.annotations ?? [:]).merging(update.annotations) { $1 }
      }
      var labels = changed.metadata.labels ?? [:]
      for key in update.removedLabels { labels[key] = nil }
      labels.merge(update.labels) { $1 }
      changed.metadata.labels = labels.isEmpty ? nil : labels
      do {
        changed = try await write(changed)
        break
      } catch let error as StoreError where error.code == .conflict && attempt < 8 {
        changed = try Self.vm(of: try await object(vm.metadata.uid))
      }
    }
    CrashPoint.pass(.updateRemembered)
    await note(Event("vm", "update", id: vm.metadata.uid, attributes: Self.attributes(of: changed)))
    // First remembered, then done: what the host refuses is not taken back, and said at the next start too.
    if limits != nil, changed.status.phase.isActive { try await applyLimits(of: changed) }
    guard let restart = update.restart, changed.status.phase.isActive else { return }
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await client(of: changed, loop: loop, evenPaused: true)
    try await client.update(
      restartPolicy: restart.policy == .never ? "" : restart.policy.rawValue, limit: restart.max)
    await client.close()
  }

  // MARK: With the host

  /// Starts the VMs that are to run when the host does; what a start fails with is told, and the others go on.
  /// - Returns: the VMs that were started.
  public func startWithHost(notify: @escaping Notify) async throws -> [VM] {
    var started: [VM] = []
    for vm in try await vms() where vm.startsWithHost {
      do {
        try await start(vm, waitsForClient: false, notify: notify).running()
        started.append(vm)
      } catch  where !(error is CancellationError) {
        notify("the VM \"\(vm.metadata.name)\" was not started: \(userMessage(error))")
      }
    }
    return started
  }

  /// Ends all VMs that run, each after its stop signal and grace, all at once; they stay wished for.
  public func stopWithHost(notify: @escaping Notify) async throws -> [VM] {
    let running = try await vms().filter(\.status.phase.isActive)
    return await withTaskGroup(of: VM?.self) { group in
      for vm in running {
        group.addTask {
          do {
            try await stop(vm, keepsWish: true)
            return vm
          } catch {
            notify("the VM \"\(vm.metadata.name)\" was not stopped: \(userMessage(error))")
            return nil
          }
        }
      }
      return await group.reduce(into: []) { if let vm = $1 { $0.append(vm) } }
    }
  }
}

extension VM {
  /// Whether its policy has it run when the host has started.
  var startsWithHost: Bool {
    guard !status.phase.isActive, status.phase != .created, status.phase != .removing else { return false }
    return switch spec.restart?.policy ?? .never {
    case .never: false
    case .always: true
    case .unlessStopped: spec.state == .running
    // It broke down with the host.
    case .onFailure: spec.state == .running && status.phase == .failed
    }
  }
}
