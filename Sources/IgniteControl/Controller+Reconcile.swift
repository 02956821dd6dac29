internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

extension Controller {
  /// Titles of the objects that stand on their own and are kept as they are declared.
  func roots() async throws -> [String] {
    var titles: [String] = []
    for kind in KindSchema.composedKinds {
      for object in try await engine.declared(kind: kind) where object.metadata.ownerReferences == nil {
        titles.append("\(kind)/\(object.metadata.name)")
      }
    }
    return titles + (try await engine.vms().filter(\.isDeclaredAlone).map { "\(VM.kind)/\($0.metadata.name)" })
  }

  /// The object that stands on its own and has the changed one as its part, or is it; nil for what nobody declared.
  func root(of change: ObjectWatch.Change) async throws -> String? {
    guard KindSchema.find(kind: change.object.kind) != nil else { return nil }
    var title = change.object.title
    var owner = change.metadata.ownerReferences?.first
    if owner == nil, !KindSchema.composedKinds.contains(change.object.kind) {
      let isDeclared = change.metadata.annotations?[Self.lastAppliedKey] != nil
      return change.object.kind == VM.kind && isDeclared ? title : nil
    }
    for _ in 0..<8 {
      guard let reference = owner else { break }
      title = reference.title
      owner = try await engine.declared(kind: reference.kind, name: reference.name)?.metadata.ownerReferences?.first
    }
    return title
  }

  /// Looks at one object that stands on its own, and mends what is not as it is to be.
  func reconcile(_ title: String) async throws -> Reconciler.Outcome {
    guard let lock = try tryLock(title) else { return .busy }
    defer { lock.release() }
    guard let (kind, name) = ObjectReference.parts(ofTitle: title) else { return .gone }
    if kind == VM.kind { return try await reconcileVM(name) }
    guard let object = try await engine.declared(kind: kind, name: name) else { return .gone }
    if object.metadata.deletionTimestamp != nil {
      let plan = try await planRemoval(titles: [title])
      for change in plan.changes { try await perform(change, nil) { _ in } }
      return .gone
    }
    // What was taken over meanwhile is kept by its owner.
    guard object.metadata.ownerReferences == nil else { return .gone }
    let manifest = object.manifest
    let all = try Self.expanded([manifest])
    let there = try await Snapshot(engine, of: all, root: object)
    // A command takes one of them away: what that comes to is seen once it has.
    if there.vms.values.contains(where: \.isDoomed) { return .busy }
    let plan = try await self.plan(all, there)
    if plan.hasWork {
      await tellDrift(plan)
      do {
        try await carryOut(plan, all) { _ in }
      } catch {
        try await writeStatus(of: object)
        throw error
      }
    }
    try await writeStatus(of: object)
    return plan.hasWork ? .mended(plan.changes.filter(\.isWork)) : .unchanged
  }

  private func reconcileVM(_ name: String) async throws -> Reconciler.Outcome {
    guard let vm = try await engine.vm(named: name), vm.isDeclaredAlone else { return .gone }
    if vm.isDoomed { return .busy }
    guard vm.spec.state == .running, vm.status.phase == .failed else { return .unchanged }
    await engine.tell("vm", "drift", id: vm.metadata.uid, ["name": name, "message": "it is Failed, and is to run"])
    try await engine.start(vm, waitsForClient: false, notify: { _ in }).running()
    var change = PlannedChange(action: .update, kind: VM.kind, name: name, uid: vm.metadata.uid, changes: [])
    change.changes.append(
      .init(field: "spec.state", old: .string("Failed"), new: .string("Running"), forcesReplacement: false))
    return .mended([change])
  }

  /// What was changed behind our back is told before it is mended.
  func tellDrift(_ plan: ObjectPlan, where isNews: (PlannedChange) -> Bool = { _ in true }) async {
    for change in plan.changes where change.isWork && isNews(change) {
      await engine.tell(
        change.kind.lowercased(), "drift", id: change.kind == VM.kind ? change.uid ?? change.name : change.name,
        ["name": change.name, "message": change.difference])
    }
  }

  /// Sums up what the object has come to.
  private func writeStatus(of object: DeclaredObject) async throws {
    try await rewrite {
      try await engine.declared(kind: object.kind, name: object.metadata.name)
    } change: { object in
      let status = try await state(of: object).status
      if object.status == status { return false }
      object.status = status
      return true
    }
  }

  /// Removes what belonged to objects that are gone.
  func collectOrphans() async throws {
    for key in try await engine.orphans() {
      guard let lock = try tryLock(key.title) else { continue }
      defer { lock.release() }
      let plan = try await planRemoval(titles: [key.title])
      for change in plan.changes where change.uid == key.uid || change.owner != nil {
        try await perform(change, nil) { _ in }
      }
    }
  }

  /// Finishes removals that were begun and cut short, and removes what belonged to objects that are gone.
  public func finishRemovals() async throws {
    for kind in KindSchema.composedKinds {
      for object in try await engine.declared(kind: kind) where object.metadata.deletionTimestamp != nil {
        _ = try await reconcile("\(kind)/\(object.metadata.name)")
      }
    }
    try await collectOrphans()
  }
}

extension VM {
  /// It was made from a manifest, and is no part of another object.
  var isDeclaredAlone: Bool {
    metadata.ownerReferences == nil && metadata.annotations?[Controller.lastAppliedKey] != nil
  }
}
