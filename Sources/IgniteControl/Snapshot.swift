internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// The objects that there are, as they are at one moment.
struct Snapshot: Sendable {
  var vms: [String: VM]
  var volumes: [String: Volume]
  /// Of the kinds whose whole spec is their manifest's, by title.
  var declared: [String: DeclaredObject] = [:]

  init(_ engine: Engine) async throws {
    vms = Dictionary(try await engine.vms().map { ($0.metadata.name, $0) }) { first, _ in first }
    volumes = Dictionary(try await engine.volumes().map { ($0.volume.metadata.name, $0.volume) }) { first, _ in first }
    for kind in KindSchema.wholeKinds {
      for object in try await engine.declared(kind: kind) { declared[object.title] = object }
    }
  }

  /// Those of these titles alone, and what belongs to the object.
  init(_ engine: Engine, of manifests: [Manifest], root: DeclaredObject) async throws {
    (vms, volumes) = ([:], [:])
    var keys = Set(manifests.map { ObjectReference(kind: $0.kind, name: $0.name, uid: "") })
    var owners = [root.metadata.uid]
    while let uid = owners.popLast() {
      for part in try await engine.dependents(of: uid) {
        keys.insert(ObjectReference(kind: part.kind, name: part.name, uid: ""))
        if part.kind == VMSet.kind { owners.append(part.uid) }
      }
    }
    for key in keys {
      switch key.kind {
      case VM.kind: vms[key.name] = try await engine.vm(named: key.name)
      case Volume.kind: volumes[key.name] = try? await engine.volume(key.name)
      default: declared[key.title] = try await engine.declared(kind: key.kind, name: key.name)
      }
    }
  }

  func metadata(_ title: String) -> ObjectMeta? {
    guard let (kind, name) = ObjectReference.parts(ofTitle: title) else { return nil }
    return switch kind {
    case VM.kind: vms[name]?.metadata
    case Volume.kind: volumes[name]?.metadata
    default: declared[title]?.metadata
    }
  }

  /// Titles and metadata of all of them.
  var all: [(title: String, metadata: ObjectMeta)] {
    vms.values.map { ("\(VM.kind)/\($0.metadata.name)", $0.metadata) }
      + volumes.values.map { ("\(Volume.kind)/\($0.metadata.name)", $0.metadata) }
      + declared.map { ($0.key, $0.value.metadata) }
  }

  /// What a sync that prunes keeps, and goes with it.
  func synced(_ title: String) -> [(title: String, metadata: ObjectMeta)] {
    guard let object = declared[title], object.kind == GitOps.sync, object.spec["prune"]?.bool ?? true else {
      return []
    }
    let inventory = SyncSpec.inventory(object.metadata.name)
    return all.filter { title, metadata in
      metadata.annotations?[Controller.inventoryKey] == inventory
        && !GitOps.pruneKeys.contains { metadata.annotations?[$0] == "disabled" }
    }
  }

  /// Titles of what belongs to that object, over all levels.
  func parts(of uid: String) -> [(title: String, metadata: ObjectMeta)] {
    var (found, next) = ([(title: String, metadata: ObjectMeta)](), [uid])
    let all = all.sorted { $0.title < $1.title }
    while let owner = next.popLast() {
      for part in all where part.metadata.ownerReferences?.contains(where: { $0.uid == owner }) == true {
        guard !found.contains(where: { $0.title == part.title }) else { continue }
        found.append(part)
        next.append(part.metadata.uid)
      }
    }
    return found
  }
}

extension Controller {
  /// What belongs to the manifests' objects, and is not in them any more.
  func partsToGo(of manifests: [Manifest], kept: Set<String>, _ there: Snapshot) async throws -> [PlannedChange] {
    var gone: [PlannedChange] = []
    for manifest in manifests where manifest.isComposed && manifest.owner == nil {
      guard let uid = there.declared[manifest.title]?.metadata.uid else { continue }
      for part in there.parts(of: uid) where !kept.contains(part.title) {
        gone.append(.deletion(part.title, part.metadata, reason: "\(manifest.title) has it no more"))
      }
    }
    return ObjectOrder.removal(gone)
  }

  /// What is in the inventory, and no manifest names.
  func leftOut(_ inventory: String?, kept: Set<String>, _ there: Snapshot) -> [PlannedChange] {
    guard let inventory else { return [] }
    var gone: [PlannedChange] = []
    for (title, metadata) in there.all
    where metadata.annotations?[Self.inventoryKey] == inventory && !kept.contains(title)
      && !GitOps.pruneKeys.contains(where: { metadata.annotations?[$0] == "disabled" })
    {
      gone.append(.deletion(title, metadata, reason: "no manifest of the inventory \(inventory) names it"))
      for part in there.parts(of: metadata.uid) where !kept.contains(part.title) {
        gone.append(.deletion(part.title, part.metadata, reason: "it belongs to \(title)"))
      }
    }
    return ObjectOrder.removal(gone)
  }

  /// Who the object belongs to; one that belongs to another is not taken from it.
  func addOwner(_ manifest: Manifest, _ there: Snapshot, _ change: inout PlannedChange) throws {
    guard let metadata = there.metadata(manifest.title) else { return }
    let owner = metadata.ownerTitle
    let isAlive =
      metadata.ownerReferences?.first.map { there.metadata($0.title)?.uid == $0.uid } ?? false
    if owner == manifest.owner, isAlive || owner == nil { return }
    if isAlive, let owner {
      throw ManifestError(
        "\(manifest.place): \(manifest.title) belongs to \(owner)",
        advice: manifest.owner == nil ? "change it there" : "choose another name")
    }
    // What is nobody's, or belonged to what is gone, is taken over.
    change.changes.append(
      .init(
        field: PlannedChange.ownerField, old: owner.map(JSONValue.string), new: manifest.owner.map(JSONValue.string),
        forcesReplacement: false))
    if change.action == .none { change.action = .update }
  }

  func addInventory(_ inventory: String, _ there: Snapshot, _ change: inout PlannedChange) {
    let old = there.metadata(change.title)?.annotations?[Self.inventoryKey]
    guard old != inventory else { return }
    change.changes.append(
      .init(
        field: "metadata.annotations.\(Self.inventoryKey)", old: old.map(JSONValue.string), new: .string(inventory),
        forcesReplacement: false))
    if change.action == .none { change.action = .update }
  }
}
