public import IgniteAPI
internal import IgniteEngine
internal import IgniteStore
internal import IgniteSystem

extension Controller {
  /// What removes the manifests' objects and all that belongs to them, the VMs first; objects that are not there are none.
  /// - Parameter keepsVolumes: volumes of composed objects stay, and belong to nobody then.
  public func planRemoval(_ manifests: [Manifest], keepsVolumes: Bool = false) async throws -> ObjectPlan {
    let all = try Self.expanded(manifests)
    let there = try await Snapshot(engine)
    var gone: [PlannedChange] = []
    for manifest in all.reversed() where manifest.owner == nil {
      guard let metadata = there.metadata(manifest.title) else { continue }
      gone += removal(manifest.title, metadata, there, order: all.map(\.title), keepsVolumes: keepsVolumes)
    }
    return ObjectPlan(changes: ObjectOrder.removal(gone))
  }

  /// The same of objects by their titles.
  public func planRemoval(titles: [String]) async throws -> ObjectPlan {
    let there = try await Snapshot(engine)
    var gone: [PlannedChange] = []
    for title in titles {
      guard let metadata = there.metadata(title) else { continue }
      gone += removal(title, metadata, there, order: [], keepsVolumes: false)
    }
    return ObjectPlan(changes: ObjectOrder.removal(gone))
  }

  private func removal(
    _ title: String, _ metadata: ObjectMeta, _ there: Snapshot, order: [String], keepsVolumes: Bool
  ) -> [PlannedChange] {
    let itself = PlannedChange.deletion(title, metadata, reason: nil)
    // Nothing else has parts, and there may be very many of it.
    guard itself.isComposed || itself.kind == GitOps.sync else { return [itself] }
    let places = Dictionary(order.enumerated().map { ($1, $0) }) { first, _ in first }
    let synced = there.synced(title).flatMap { inner in
      removal(inner.title, inner.metadata, there, order: order, keepsVolumes: keepsVolumes).map { change in
        var change = change
        change.reason = change.reason ?? "\(title) keeps it"
        return change
      }
    }
    let parts = there.parts(of: metadata.uid).sorted { places[$0.title] ?? 0 > places[$1.title] ?? 0 }
    return parts.filter { !keepsVolumes || !$0.title.hasPrefix("\(Volume.kind)/") }.map {
      PlannedChange.deletion($0.title, $0.metadata, reason: "it belongs to \(title)")
    } + synced + [itself]
  }

  /// Carries a removal out. What is composed is marked first, so that its parts go also when this process does.
  public func remove(_ plan: ObjectPlan, keepsVolumes: Bool = false, progress: @escaping Report) async throws {
    try await withLocks(Set(plan.changes.map(\.title)), progress) {
      for change in plan.changes.reversed() where change.isComposed {
        guard let uid = change.uid else { continue }
        if keepsVolumes { try await letVolumesGo(of: uid) }
        _ = try await engine.markDeleted(uid: uid)
      }
      for change in plan.changes { try await perform(change, nil, progress) }
    }
  }

  private func letVolumesGo(of uid: String) async throws {
    for part in try await engine.dependents(of: uid) where part.kind == Volume.kind {
      try await engine.annotateVolume(part.name, labels: [:], annotations: [:], owners: [])
    }
  }

  /// Removes what the change names, if it is still that.
  func remove(_ change: PlannedChange) async throws {
    switch change.kind {
    case Volume.kind:
      guard let volume = try? await engine.volume(change.name), volume.metadata.uid == change.uid else { return }
      try await engine.removeVolume(change.name)
    case VM.kind:
      // One that is gone already, or another one of its name, is none of ours.
      guard let vm = try? await engine.vm(change.name), vm.metadata.uid == change.uid else { return }
      try await engine.remove(vm, force: true, volumes: true)
    case HostKind.image where try await isStill(change): _ = try await engine.removeImage(change.name)
    case HostKind.kernel where try await isStill(change): _ = try await engine.removeKernel(change.name)
    case HostKind.image, HostKind.kernel: return
    default:
      try await removeComposed(change)
      if GitOps.sources.contains(change.kind), let uid = change.uid { try await engine.removeSourceFiles(uid) }
    }
  }

  private func isStill(_ change: PlannedChange) async throws -> Bool {
    try await engine.declared(kind: change.kind, name: change.name)?.metadata.uid == change.uid
  }

  private func removeComposed(_ change: PlannedChange) async throws {
    guard let uid = change.uid else { return }
    try await rewrite {
      try await engine.markDeleted(uid: uid)
    } change: { object in
      if let part = try await engine.dependents(of: uid).first {
        throw EngineError(
          .wrongState, "\(change.title) still has \(part.title), which came to it meanwhile", advice: "try again")
      }
      object.metadata.finalizers = object.metadata.finalizers?.filter { $0 != Self.finalizer }
      return true
    }
  }

  /// Reads an object, changes and writes it; once more where somebody has written in between, and not at all where it is gone.
  /// - Parameter change: whether there is something to write.
  func rewrite(
    _ read: () async throws -> DeclaredObject?, change: (inout DeclaredObject) async throws -> Bool
  ) async throws {
    for attempt in 0... {
      guard var object = try await read(), try await change(&object) else { return }
      do {
        _ = try await engine.update(object)
        return
      } catch let error as StoreError where error.code == .conflict && attempt < 8 {
        continue
      } catch let error as StoreError where error.code == .notFound {
        return
      }
    }
  }

  // MARK: One worker an object

  /// Runs `body` while nobody else works on these objects. Locks are taken in one order, so that no two wait for each other.
  func withLocks<Result: Sendable>(
    _ titles: Set<String>, _ progress: @escaping Report, _ body: () async throws -> Result
  ) async throws -> Result {
    var held: [PassingLock] = []
    defer { for lock in held { lock.release() } }
    for title in titles.sorted() {
      var isTold = false
      while true {
        if let lock = try tryLock(title) {
          held.append(lock)
          break
        }
        if !isTold { progress(.waiting(title: title, reason: "another command, or the daemon, is at work on it")) }
        isTold = true
        try await Task.sleep(for: .milliseconds(100))
      }
    }
    return try await body()
  }

  /// nil where another process works on the object.
  func tryLock(_ title: String) throws -> PassingLock? {
    try PassingLock.take(engine.paths.objectLock(title))
  }
}

extension PlannedChange {
  var isComposed: Bool { KindSchema.composedKinds.contains(kind) }
}
