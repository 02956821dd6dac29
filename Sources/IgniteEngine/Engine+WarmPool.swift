internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

extension Engine {
  /// Starts hypervisors ahead for VMs of an image, until as many wait as the configuration has.
  ///
  /// Where none of this kind waits and the pool is full, the one that has waited longest makes room.
  /// - Returns: how many of this kind wait now; nil where another command is at it.
  public func fillWarmPool(_ request: TemplateRequest, image name: String, notify: Notify) async throws -> Int? {
    let size = Int(configuration.warmPool.size)
    guard size > 0, configuration.templates.enabled else {
      throw EngineError(
        .invalidArgument, "no hypervisors are started ahead: the warm pool is off",
        advice: "set warmPool.size in the configuration (and leave templates.enabled)")
    }
    let kernel = try await kernel(request.kernel)
    let image = try await inspectImage(name).image
    guard let kind = try await spareKind(request, image: image, kernel: kernel, hasPorts: false, notify: notify) else {
      return 0
    }
    // Another command may take one while this one leaves: then it looks again.
    while true {
      guard let lock = try FileLock.tryLock(paths.run + "/warm-pool.lock") else { return nil }
      defer { lock.unlock() }
      try await sweepSpares()
      let waiting = try await spares()
      let own = waiting.filter { $0.kind == kind }.count
      if waiting.count >= size {
        if own > 0 { return own }
        try await end(waiting[0])
      }
      try await makeSpare(kind, request, image: image, kernel: kernel, notify: notify)
    }
  }

  /// Has the pool filled by another process.
  func fillWarmPoolInBackground(_ request: TemplateRequest, image: String) throws {
    guard configuration.warmPool.size > 0 else { return }
    try launchInBackground(["template", "fill", "--background"] + request.arguments + [image])
  }

  // MARK: One spare

  private func makeSpare(
    _ kind: SpareKind, _ request: TemplateRequest, image: ImportedImage, kernel: ImportedKernel, notify: Notify
  ) async throws {
    var spec = VMSpec(image: VMSpec.Image(oci: image.name, pullPolicy: .never))
    spec.kernel = VMSpec.Kernel(oci: kernel.name)
    spec.resources = request.resources
    spec.process.boot = request.isMachine ? .machine : .process
    // What runs is told when it is taken.
    if !request.isMachine { spec.process.command = ["-"] }
    let uid = ObjectName.makeUID()
    var vm = VM(metadata: ObjectMeta(name: "spare-\(uid.prefix(12))", namespace: "default"), spec: spec)
    vm.metadata.uid = uid
    // Held from before it is remembered, so that a sweep does not take it for one that has ended.
    let lock = try await lock(uid)
    defer { lock.unlock() }
    var object = try await store.create(
      StoredObject(
        kind: SpareKind.objectKind, namespace: "", name: uid, uid: ObjectName.makeUID(), created: Date(),
        spec: try Self.encode(kind), status: try Self.encode(SpareStatus())))
    do {
      if getuid() == 0 {
        object.status = try Self.encode(SpareStatus(userID: try await allocateUser(uid)))
        object = try await store.update(object)
      }
      try await makeFiles(of: vm, image: image)
      let plan = try await LaunchPlan.make(
        engine: self, vm: vm, waitsForClient: true, size: TerminalSize(columns: 80, rows: 24),
        accelerator: request.accelerator, way: .ahead, notify: notify)
      try await plan.begin(lock: lock).await(.spare)
    } catch {
      lock.unlock()
      try? await end(RecordedSpare(object: object, kind: kind, status: SpareStatus()))
      throw error
    }
  }

  /// Takes back what ended spares have left, and forgets those that are VMs now.
  func sweepSpares() async throws {
    for spare in try await spares() { _ = try await takeBack(spare) }
  }

  /// - Returns: whether it is gone; one that waits is left.
  private func takeBack(_ spare: RecordedSpare) async throws -> Bool {
    guard let lock = try FileLock.tryLock(paths.vmLock(spare.uid)) else {
      if try await isVM(spare.uid) { try await store.delete(uid: spare.object.uid) }
      return false
    }
    defer { lock.unlock() }
    if try await !isVM(spare.uid) { try await removeRemains(of: spare.uid, user: spare.status.userID) }
    try await store.delete(uid: spare.object.uid)
    return true
  }

  private func isVM(_ uid: String) async throws -> Bool {
    try await !store.find(kind: VM.kind, uidPrefix: uid).isEmpty
  }

  /// Ends a spare; one that has just become a VM goes on as that.
  private func end(_ spare: RecordedSpare) async throws {
    let path = "\(paths.vmRun(spare.uid))/\(SpareKind.socketName)"
    let user = spare.status.userID ?? getuid()
    await ThreadExecutor.run { SpareClaim.ask(path, user: user)?.abandon() }
    for _ in 0..<1000 {
      if try await takeBack(spare) { return }
      if try await isVM(spare.uid) { return }
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  /// Ends the spares that `isDoomed` tells, and takes back what others have left.
  func endSpares(where isDoomed: (SpareKind) -> Bool) async throws {
    for spare in try await spares() {
      if isDoomed(spare.kind) { try await end(spare) } else { _ = try await takeBack(spare) }
    }
  }
}
