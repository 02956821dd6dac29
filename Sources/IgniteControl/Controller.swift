internal import FoundationEssentials
public import IgniteAPI
public import IgniteEngine
internal import IgniteSystem

/// Brings objects to what manifests say of them.
public struct Controller: Sendable {
  /// The annotation with what was applied last, as JSON.
  public static let lastAppliedKey = "ignite.weave.works/last-applied"
  /// The annotation with the name of the inventory that an object is in.
  public static let inventoryKey = "ignite.weave.works/inventory"
  /// What keeps a composed object until its parts are gone.
  static let finalizer = "ignite.weave.works/parts"

  public let engine: Engine
  /// Objects that were edited, by title, as they were before: what was taken out of them goes back to its default, and what a
  /// manifest said of them last stays what it was.
  let edited: [String: Manifest]

  public init(engine: Engine, edited: [String: Manifest] = [:]) {
    self.engine = engine
    self.edited = edited
  }

  // MARK: Plan

  /// What the manifests come to now.
  /// - Parameters:
  ///   - inventory: the set that their objects are in from now on.
  ///   - prunes: objects of the inventory that no manifest names are deleted.
  /// - Throws: ManifestError for two of one object, and for what depends on itself; EngineError `conflict` where a manifest has the
  ///   version of an object that was changed since.
  public func plan(
    _ manifests: [Manifest], inventory: String? = nil, prunes: Bool = false
  ) async throws -> ObjectPlan {
    let all = try Self.expanded(manifests)
    for manifest in manifests {
      guard let version = manifest.resourceVersion else { continue }
      try await engine.check(
        manifest.kind, manifest.name, uid: manifest.uid, isAsAt: version, place: manifest.place)
    }
    return try await plan(all, try await Snapshot(engine), inventory: inventory, prunes: prunes)
  }

  /// The same of manifests that are expanded and in order, and the objects that there are.
  func plan(
    _ all: [Manifest], _ there: Snapshot, inventory: String? = nil, prunes: Bool = false
  ) async throws -> ObjectPlan {
    var changes: [PlannedChange] = []
    for manifest in all {
      var change =
        switch manifest.kind {
        case Volume.kind: try self.change(manifest, there.volumes[manifest.name])
        case VM.kind: try self.change(manifest, there.vms[manifest.name])
        default: try self.change(manifest, there.declared[manifest.title])
        }
      if manifest.kind == VM.kind { addConfigs(manifest, there, changes, &change) }
      change.owner = manifest.owner
      try addOwner(manifest, there, &change)
      if let inventory, manifest.owner == nil { addInventory(inventory, there, &change) }
      changes.append(change)
    }
    let kept = Set(all.map(\.title))
    let gone = try await partsToGo(of: all, kept: kept, there) + (prunes ? leftOut(inventory, kept: kept, there) : [])
    // What goes makes room for what comes; a volume and its like wait until nobody uses them any more.
    return ObjectPlan(
      changes: gone.filter { !$0.goesLast } + changes + gone.filter(\.goesLast), inventory: inventory, prunes: prunes)
  }

  /// All objects of the manifests, each after what it needs.
  static func expanded(_ manifests: [Manifest]) throws(ManifestError) -> [Manifest] {
    var all: [Manifest] = []
    for manifest in manifests { all += try manifest.expanded() }
    guard all.count <= ManifestLimits.documents else {
      throw ManifestError("more than \(ManifestLimits.documents) objects", advice: "apply them in parts")
    }
    try checkNames(all)
    return try ObjectOrder.sorted(all)
  }

  private static func checkNames(_ manifests: [Manifest]) throws(ManifestError) {
    var seen: [String: Manifest] = [:]
    for manifest in manifests {
      if let other = seen.updateValue(manifest, forKey: manifest.title) {
        throw ManifestError(
          "\(manifest.place): \(manifest.title) stands in \(other.place), too", advice: "leave one of them out")
      }
    }
  }

  // MARK: One object

  private func change(_ manifest: Manifest, _ volume: Volume?) throws -> PlannedChange {
    var change = try difference(
      manifest, metadata: volume?.metadata, current: volume?.spec, standard: VolumeSpec(size: .mebibytes(0)))
    // A volume's data is not thrown away for a field.
    if change.action == .replace { change.action = .pending }
    return change
  }

  private func change(_ manifest: Manifest, _ vm: VM?) throws -> PlannedChange {
    let wish = manifest.given["state"]?.string ?? DesiredState.running.rawValue
    let spec: VMSpec = try manifest.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
    // What it is by now counts, and not what was wished.
    var change = try difference(
      manifest, without: "state", metadata: vm?.metadata, current: vm?.spec,
      standard: VMSpec(image: VMSpec.Image(oci: "")))
    guard let vm else {
      change.changes.append(.init(field: "spec.state", old: nil, new: .string(wish), forcesReplacement: false))
      return change
    }
    if let state = state(of: vm, wish: wish) {
      change.changes.append(
        .init(field: "spec.state", old: .string(state), new: .string(wish), forcesReplacement: false))
      if change.action == .none { change.action = .update }
    }
    if change.action == .replace, (spec.updatePolicy ?? .inPlace) != .replace { change.action = .pending }
    // Its making was cut short, so there is nothing to lose: it is made anew.
    if !engine.isWhole(vm) {
      change.action = .replace
      change.changes.append(.init(field: "status", old: "not whole", new: nil, forcesReplacement: true))
    }
    return change
  }

  /// What the VM is, where that is not what is wished; nil where it is. A process that has ended by itself, and is not to be
  /// started again, has done what was wished; one that was killed has not.
  private func state(of vm: VM, wish: String) -> String? {
    let state: DesiredState =
      switch vm.status.phase {
      case .paused: .paused
      case let phase where phase.isActive: .running
      default: .stopped
      }
    if state.rawValue == wish { return nil }
    let hasDoneIt =
      wish == DesiredState.running.rawValue && vm.status.phase == .stopped && vm.spec.state == .running
      && (vm.spec.restart?.policy ?? .never) != .always && vm.status.exitCode != 137
    return hasDoneIt ? nil : (vm.status.phase == .failed ? "Failed" : state.rawValue)
  }

  private func difference<Spec: Codable & Sendable>(
    _ manifest: Manifest, without field: String? = nil, metadata: ObjectMeta?, current: Spec?, standard: Spec
  ) throws -> PlannedChange {
    guard let schema = KindSchema.find(kind: manifest.kind) else {
      throw ManifestError("no kind is named \(manifest.kind)")
    }
    let fields = schema.spec.filter { $0.name != field }
    var change = PlannedChange(
      action: .create, kind: manifest.kind, name: manifest.name, uid: metadata?.uid,
      resourceVersion: metadata?.resourceVersion, changes: [])
    let standard = try JSONValue.parse(Array(APICoding.encoder().encode(standard)))
    let engine = engine
    let means: (String, String, String) -> Bool = { field, one, other in
      field == "spec.image.oci" && engine.imageName(one) == engine.imageName(other)
    }
    guard let metadata, let current else {
      var all = Differences(standard: standard, current: .object([:]), means: means)
      all.collect(fields, given: manifest.given, last: .object([:]))
      change.changes = all.found.map { .init(field: $0.field, old: nil, new: $0.new, forcesReplacement: false) }
      change.changes += labelChanges(manifest, nil, last: nil)
      return change
    }
    let last = try said(manifest, metadata)
    var differences = Differences(
      standard: standard, current: try JSONValue.parse(Array(APICoding.encoder().encode(current))), means: means)
    differences.collect(fields, given: manifest.given, last: last?["spec"] ?? .object([:]))
    change.changes =
      differences.found + labelChanges(manifest, metadata, last: last) + annotationChanges(manifest, metadata)
    change.action =
      change.changes.isEmpty ? .none : change.changes.contains(where: \.forcesReplacement) ? .replace : .update
    return change
  }

  /// What was said of the object before.
  func said(_ manifest: Manifest, _ metadata: ObjectMeta?) throws -> JSONValue? {
    guard let before = edited[manifest.title] else { return try lastApplied(metadata) }
    return ["spec": before.given, "labels": .object(before.labels.mapValues(JSONValue.string))]
  }

  func lastApplied(_ metadata: ObjectMeta?) throws -> JSONValue? {
    try metadata?.annotations?[Self.lastAppliedKey].map { try JSONValue.parse(Array($0.utf8)) }
  }

  /// What a manifest says of annotations; those that it does not name are left alone, as are Ignite's own.
  func annotationChanges(_ manifest: Manifest, _ metadata: ObjectMeta?) -> [PlannedChange.FieldChange] {
    manifest.annotations.sorted { $0.key < $1.key }.compactMap { name, text in
      let old = metadata?.annotations?[name]
      guard old != text, name != Self.lastAppliedKey, name != Self.inventoryKey else { return nil }
      return .init(
        field: "metadata.annotations.\(name)", old: old.map(JSONValue.string), new: .string(text),
        forcesReplacement: false)
    }
  }

  func labelChanges(
    _ manifest: Manifest, _ metadata: ObjectMeta?, last: JSONValue?
  ) -> [PlannedChange.FieldChange] {
    let current = metadata?.labels ?? [:]
    var names = Set(manifest.labels.keys)
    names.formUnion(last?["labels"]?.fields.keys.map { $0 } ?? [])
    return names.sorted().compactMap { name in
      let (old, new) = (current[name], manifest.labels[name])
      guard old != new else { return nil }
      return .init(
        field: "metadata.labels.\(name)", old: old.map(JSONValue.string), new: new.map(JSONValue.string),
        forcesReplacement: false)
    }
  }
}

extension Manifest {
  /// What is given, with what its records do not say.
  var completed: JSONValue {
    KindSchema.find(kind: kind).map { Shape.record($0.spec).completed(given) } ?? given
  }
}
