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
      guard let manifest = try await manifest(title) else {
        items.append(TreeItem(title: title, depth: 1, readiness: .waiting("it is not there")))
        continue
      }
      items.append(TreeItem(title: title, depth: 1, readiness: try await readiness(of: manifest)))
      guard manifest.isComposed, let (kind, name) = ObjectReference.parts(ofTitle: title),
        let object = try await engine.declared(kind: kind, name: name)
      else { continue }
      for part in try await parts(of: object) {
        items.append(TreeItem(title: part.manifest.title, depth: 2, readiness: part.readiness))
      }
    }
    return items
  }

  /// How many of the sync's objects are ready.
  public func ready(of status: SyncStatus) async throws -> Int {
    var count = 0
    for title in status.inventory {
      if let manifest = try await manifest(title), try await readiness(of: manifest) == .ready { count += 1 }
    }
    return count
  }

  /// Of an object that is there, with the state that it is wished in.
  private func manifest(_ title: String) async throws -> Manifest? {
    guard let (kind, name) = ObjectReference.parts(ofTitle: title) else { return nil }
    var manifest = Manifest(
      place: "the object", kind: kind, name: name, labels: [:], annotations: [:], given: .object([:]))
    switch kind {
    case VM.kind:
      guard let vm = try await engine.vm(named: name) else { return nil }
      let last = try lastApplied(vm.metadata)?["spec"]?["state"] ?? .string(DesiredState.running.rawValue)
      manifest.given = ["state": last]
    case Volume.kind: break
    default:
      guard let object = try await engine.declared(kind: kind, name: name) else { return nil }
      manifest.given = object.spec
    }
    return manifest
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
