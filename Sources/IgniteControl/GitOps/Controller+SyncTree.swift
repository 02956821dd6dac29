internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// What is shown of syncs.
extension Controller {
  public struct TreeItem: Sendable {
    public var title: String
    /// From 1: an object of the sync itself.
    public var depth: Int
    public var readiness: Readiness
  }

  /// The sync's objects, and the parts of those that have some.
  public func tree(of status: SyncStatus) async throws -> [TreeItem] {
    var items: [TreeItem] = []
    for title in status.inventory {
      let object = try await object(title)
      items.append(TreeItem(title: title, depth: 1, readiness: try await readiness(of: object)))
      guard case .declared(let object)? = object, object.manifest.isComposed else { continue }
      for part in try await parts(of: object) {
        items.append(TreeItem(title: part.manifest.title, depth: 2, readiness: part.readiness))
      }
    }
    return items
  }

  /// How many of the sync's objects are ready.
  public func ready(of status: SyncStatus) async throws -> Int {
    var count = 0
    for title in status.inventory where try await readiness(of: try await object(title)) == .ready { count += 1 }
    return count
  }

  private enum InventoryObject {
    case vm(VM)
    case volume
    case declared(DeclaredObject)
  }

  /// nil of one that is not there.
  private func object(_ title: String) async throws -> InventoryObject? {
    guard let (kind, name) = ObjectReference.parts(ofTitle: title) else { return nil }
    return switch kind {
    case VM.kind: try await engine.vm(named: name).map(InventoryObject.vm)
    case Volume.kind: (try? await engine.volume(name)).map { _ in .volume }
    default: try await engine.declared(kind: kind, name: name).map(InventoryObject.declared)
    }
  }

  /// A VM's is that of the state which it was declared in, whatever it was wished by hand.
  private func readiness(of object: InventoryObject?) async throws -> Readiness {
    switch object {
    case nil: return .waiting("it is not there")
    case .volume: return .ready
    case .vm(let vm):
      let declared = try lastApplied(vm.metadata)?["spec"]?["state"]?.string
      return vm.readiness(wish: declared.flatMap(DesiredState.init) ?? .running)
    case .declared(let object): return try await readiness(of: object.manifest)
    }
  }

  /// Suspends a sync, or lets it go on.
  public func suspend(sync name: String, _ isSuspended: Bool) async throws {
    _ = try await sync(name)
    try await rewrite {
      try await engine.declared(kind: GitOps.sync, name: name)
    } change: { object in
      guard object.spec["suspend"]?.bool ?? false != isSuspended else { return false }
      object.spec["suspend"] = .bool(isSuspended)
      return true
    }
    await engine.tell("sync", isSuspended ? "suspended" : "resumed", id: name, [:])
  }
}
