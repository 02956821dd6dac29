internal import IgniteAPI
internal import IgniteEngine
internal import IgniteStore
internal import IgniteSystem

/// Kinds whose whole spec is their last manifest's: apps and sets, configuration, images and kernels.
extension Controller {
  func change(_ manifest: Manifest, _ object: DeclaredObject?) throws -> PlannedChange {
    var change = PlannedChange(
      action: .create, kind: manifest.kind, name: manifest.name, uid: object?.metadata.uid,
      resourceVersion: object?.metadata.resourceVersion, changes: [])
    change.changes =
      labelChanges(manifest, object?.metadata, last: try said(manifest, object?.metadata))
      + annotationChanges(manifest, object?.metadata)
    guard let object else {
      if !manifest.isComposed { change.changes += fields(manifest, from: .object([:])) }
      return change
    }
    if object.metadata.deletionTimestamp != nil {
      throw EngineError(
        .wrongState, "\(manifest.title) is being deleted",
        advice: "wait until it is gone, or finish that: ignite delete \(manifest.title)")
    }
    change.changes += fields(manifest, from: object.spec)
    if object.spec["immutable"]?.bool == true, object.spec != manifest.completed {
      throw ManifestError(
        "\(manifest.place): \(manifest.title) is immutable", advice: "delete it first, or give the new one another name"
      )
    }
    change.action = change.changes.isEmpty ? .none : .update
    return change
  }

  /// The fields that differ; of data each key.
  private func fields(_ manifest: Manifest, from old: JSONValue) -> [PlannedChange.FieldChange] {
    let new = manifest.completed
    guard old != new, let schema = KindSchema.find(kind: manifest.kind) else { return [] }
    return schema.spec.flatMap { field -> [PlannedChange.FieldChange] in
      let (from, to) = (old[field.name], new[field.name])
      guard from != to else { return [] }
      let path = schema.isFlat ? field.name : "spec.\(field.name)"
      guard schema.isFlat, from?.texts ?? to?.texts != nil, !["type", "immutable"].contains(field.name) else {
        return [.init(field: path, summaryOf: from, to)]
      }
      let keys = Set((from?.fields ?? [:]).keys).union((to?.fields ?? [:]).keys)
      return keys.sorted().filter { from?[$0] != to?[$0] }.map { key in
        var change = PlannedChange.FieldChange(field: "\(path).\(key)", textOf: from?[key], to?[key])
        if manifest.kind == Secret.kind { (change.old, change.new, change.isHidden) = (nil, nil, true) }
        return change
      }
    }
  }

  /// Makes the object, or gives it the manifest's spec.
  func applyWhole(_ change: PlannedChange, _ manifest: Manifest, _ progress: @escaping Report) async throws {
    if change.changesSource { try await importHostObject(manifest, progress) }
    for attempt in 0... {
      do {
        let annotations = try annotations(change, manifest)
        guard var object = try await engine.declared(kind: manifest.kind, name: manifest.name) else {
          guard !HostKind.all.contains(manifest.kind) else {
            throw EngineError(.wrongState, "\(manifest.title) was removed meanwhile", advice: "apply it again")
          }
          var meta = ObjectMeta(name: manifest.name, labels: manifest.labels)
          meta.annotations = annotations
          if manifest.isComposed { meta.finalizers = [Self.finalizer] }
          meta.ownerReferences = try await owners(manifest, change)
          _ = try await engine.create(DeclaredObject(kind: manifest.kind, metadata: meta, spec: manifest.completed))
          return
        }
        guard object.metadata.deletionTimestamp == nil else {
          throw EngineError(
            .wrongState, "\(manifest.title) is being deleted",
            advice: "wait until it is gone, or finish that: ignite delete \(manifest.title)")
        }
        object.spec = manifest.completed
        var labels = object.metadata.labels ?? [:]
        for (name, value) in change.labels { labels[name] = value }
        object.metadata.labels = labels.isEmpty ? nil : labels
        object.metadata.annotations = (object.metadata.annotations ?? [:]).merging(annotations) { $1 }
        if let owners = try await owners(manifest, change) { object.metadata.ownerReferences = owners }
        _ = try await engine.update(object)
        return
      } catch let error as StoreError where [.conflict, .alreadyExists].contains(error.code) && attempt < 8 {
        continue
      }
    }
  }

  /// Brings the image or the kernel here, under the object's name.
  private func importHostObject(_ manifest: Manifest, _ progress: @escaping Report) async throws {
    switch manifest.kind {
    case HostKind.image:
      try await engine.importImage(named: manifest.name, manifest.completed) { progress(.image($0)) }
    case HostKind.kernel:
      try await engine.importKernel(named: manifest.name, manifest.completed) { progress(.kernel($0)) }
    default: break
    }
  }

  /// A VM that runs was given its configuration at its start: what has changed since is there with its next one.
  func addConfigs(_ manifest: Manifest, _ there: Snapshot, _ changes: [PlannedChange], _ change: inout PlannedChange) {
    guard let vm = there.vms[manifest.name], vm.status.phase.isActive, let given = vm.status.configs else { return }
    let changed = Set(changes.filter(\.isWork).map(\.title))
    var news: [String] = []
    for title in manifest.configTitles where given[title] != nil || there.declared[title] != nil {
      let now = there.declared[title].map(\.configVersion)
      guard changed.contains(title) || now != given[title] else { continue }
      news.append(title)
    }
    guard !news.isEmpty, change.action != .replace, change.action != .pending else { return }
    let policy = manifest.given["updatePolicy"]?.string.flatMap(UpdatePolicy.init) ?? .inPlace
    if policy != .replace {
      change.reason =
        "what \(news.joined(separator: ", ")) says by now comes to it with its next start: ignite restart \(manifest.name)"
    }
    if policy == .replace || change.action == .none {
      change.action = policy == .replace ? .replace : .pending
      change.changes += news.map {
        .init(field: $0, old: "as at its start", new: "as it is by now", forcesReplacement: true)
      }
    }
  }
}

extension PlannedChange {
  /// Its deletion waits until nobody uses it any more.
  var goesLast: Bool { ObjectOrder.isGround(kind) || kind == App.kind }

  /// What is imported under its name is another, or not there.
  fileprivate var changesSource: Bool {
    HostKind.all.contains(kind) && (action == .create || changes.contains { $0.field.hasPrefix("spec.") })
  }
}

extension PlannedChange.FieldChange {
  /// Of a field whose value is too much to be shown: the objects in it by name, or that it differs.
  init(field: String, summaryOf old: JSONValue?, _ new: JSONValue?) {
    func summary(_ value: JSONValue?) -> JSONValue? {
      switch value {
      case .array(let items)?:
        .array(items.map { .string("\($0["kind"]?.string ?? "")/\($0["name"]?.string ?? "")") })
      case .object?: nil
      default: value
      }
    }
    let (from, to) = (summary(old), summary(new))
    self.init(field: field, old: from == to ? nil : from, new: from == to ? nil : to, forcesReplacement: false)
    isSummary = from == to
  }

  /// Of a text, which is told by its size where it is long.
  fileprivate init(field: String, textOf old: JSONValue?, _ new: JSONValue?) {
    func short(_ value: JSONValue?) -> JSONValue? {
      guard let text = value?.string, text.utf8.count > 80 || text.contains("\n") else { return value }
      return .string("\(text.utf8.count) bytes")
    }
    let (from, to) = (short(old), short(new))
    self.init(field: field, old: from == to ? nil : from, new: from == to ? nil : to, forcesReplacement: false)
    isSummary = from == to
  }
}
