internal import FoundationEssentials
public import IgniteAPI
internal import IgniteEngine
public import IgniteImages
internal import IgniteStore
internal import IgniteSystem

extension Controller {
  /// What is told while a plan is carried out.
  public enum Progress: Sendable {
    case began(PlannedChange)
    case done(PlannedChange)
    case failed(PlannedChange, reason: String)
    /// It is not begun with, or not over, for that reason.
    case waiting(title: String, reason: String)
    case image(ImportProgress)
    case kernel(KernelImportProgress)
    case notice(String)
  }

  public typealias Report = @Sendable (Progress) -> Void

  /// So many objects are brought about at once.
  private static let width = 4

  /// Carries a plan out; what has been done when something fails stays, and the next plan goes on from there.
  ///
  /// Nobody else carries out a plan of these objects meanwhile, the daemon neither. Who was at it between the plan and now may
  /// have changed what there is to do.
  /// - Parameter exactly: then nothing is done; else it is planned anew.
  /// - Returns: the plan that was carried out.
  /// - Throws: EngineError, also where an object is not any more as it was planned for.
  public func apply(
    _ plan: ObjectPlan, _ manifests: [Manifest], exactly: Bool, progress: @escaping Report
  ) async throws -> ObjectPlan {
    let all = try Self.expanded(manifests)
    let roots = Set(all.filter { $0.owner == nil }.map(\.title) + plan.changes.filter { $0.owner == nil }.map(\.title))
    return try await withLocks(roots, progress) {
      let now = try await self.plan(manifests, inventory: plan.inventory, prunes: plan.prunes ?? false)
      let moved = now.differences(from: plan)
      if !moved.isEmpty {
        let isLocked = now.changes.allSatisfy { $0.owner != nil || roots.contains($0.title) }
        guard !exactly, isLocked else {
          throw EngineError(
            .conflict, "nothing was done: \(moved.joined(separator: ", ")) moved since it was planned",
            advice: "plan again")
        }
        progress(.notice("\(moved.joined(separator: ", ")) moved meanwhile: it was planned again"))
      }
      try await carryOut(now, all, progress)
      return now
    }
  }

  /// What one object fails for is no reason to leave the others; what waits for it is not begun with.
  func carryOut(_ plan: ObjectPlan, _ all: [Manifest], _ progress: @escaping Report) async throws {
    let deletions = plan.changes.filter { $0.action == .delete }
    var failed = ApplyFailures()
    for change in deletions where !change.goesLast {
      failed.note(change, try await attempt(change, progress) { try await perform(change, nil, progress) })
    }
    try await bringAbout(plan, all, &failed, progress)
    // What others may still use stays until all is as it is to be.
    try failed.tell()
    for change in deletions where change.goesLast {
      failed.note(change, try await attempt(change, progress) { try await perform(change, nil, progress) })
    }
    try failed.tell()
  }

  /// - Returns: why it failed; nil where it did not.
  private func attempt(
    _ change: PlannedChange, _ progress: Report, _ body: () async throws -> Void
  ) async throws -> (any Error)? {
    do {
      try await body()
      return nil
    } catch let error as CancellationError {
      throw error
    } catch {
      progress(.failed(change, reason: userMessage(error)))
      return error
    }
  }

  /// All that is not deleted, several at once, each after what it needs.
  private func bringAbout(
    _ plan: ObjectPlan, _ all: [Manifest], _ failed: inout ApplyFailures, _ progress: @escaping Report
  ) async throws {
    let changes = Dictionary(plan.changes.map { ($0.title, $0) }) { first, _ in first }
    var waiting = all.filter { manifest in
      changes[manifest.title]?.isWork ?? false
    }
    // One that has failed stays among them.
    var open = Set(waiting.map(\.title))
    var failures = failed
    try await withThrowingTaskGroup(of: (PlannedChange, (any Error)?).self) { group in
      var running = 0
      while !waiting.isEmpty || running > 0 {
        while running < Self.width,
          let index = waiting.firstIndex(where: { manifest in
            ObjectOrder.prerequisites(of: manifest).allSatisfy { !open.contains($0) }
              && manifest.dependsOn.allSatisfy { title in !all.contains { $0.owner == title && open.contains($0.title) }
              }
          })
        {
          let manifest = waiting.remove(at: index)
          guard let change = changes[manifest.title] else { continue }
          group.addTask {
            let error = try await attempt(change, progress) {
              try await awaitBefore(change, manifest, all, progress)
              try await perform(change, manifest, progress)
            }
            return (change, error)
          }
          running += 1
        }
        guard let (change, error) = try await group.next() else { break }
        failures.note(change, error)
        if error == nil { open.remove(change.title) }
        running -= 1
      }
    }
    failures.left += waiting.map(\.title)
    failed = failures
  }

  /// Until what it depends on is ready, and for one that is replaced in a row, the one before it.
  private func awaitBefore(
    _ change: PlannedChange, _ manifest: Manifest, _ all: [Manifest], _ progress: @escaping Report
  ) async throws {
    var needs = manifest.dependsOn
    if let before = manifest.rollsAfter, change.action == .replace { needs.append(before) }
    for need in needs {
      guard let other = all.first(where: { $0.title == need }) else { continue }
      try await awaitReady(other, all, for: manifest.title, progress)
    }
  }

  func perform(_ change: PlannedChange, _ manifest: Manifest?, _ progress: @escaping Report) async throws {
    try Task.checkCancellation()
    progress(.began(change))
    if change.action == .delete {
      try await remove(change)
    } else if let manifest {
      switch manifest.kind {
      case Volume.kind: try await applyVolume(change, manifest)
      case VM.kind: try await applyVM(change, manifest, progress)
      default: try await applyWhole(change, manifest, progress)
      }
    }
    progress(.done(change))
  }

  // MARK: Kinds

  private func applyVolume(_ change: PlannedChange, _ manifest: Manifest) async throws {
    let spec: VolumeSpec = try manifest.spec(over: VolumeSpec(size: .mebibytes(0)))
    if change.action == .create {
      _ = try await engine.createVolume(manifest.name, size: spec.size, labels: manifest.labels)
    }
    try await engine.annotateVolume(
      manifest.name, labels: change.labels, annotations: try annotations(change, manifest),
      owners: try await owners(manifest, change))
  }

  private func applyVM(_ change: PlannedChange, _ manifest: Manifest, _ progress: @escaping Report) async throws {
    var annotations = try annotations(change, manifest)
    let spec: VMSpec = try manifest.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
    switch change.action {
    case .replace, .create:
      if change.action == .replace {
        let old = try await unchanged(change)
        // Another VM takes its place, also in its inventory.
        annotations[Self.inventoryKey] = annotations[Self.inventoryKey] ?? old.metadata.annotations?[Self.inventoryKey]
        try await engine.remove(old, force: true)
      }
      var request = VMRequest(spec, name: manifest.name, labels: manifest.labels, annotations: annotations)
      request.owners = try await owners(manifest, nil) ?? []
      let made = try await engine.create(
        request, notify: { progress(.notice($0)) }, progress: { progress(.image($0)) })
      try await bring(made, to: spec.state, progress)
    default:
      let vm = try await unchanged(change)
      var update = VMUpdate()
      for (name, value) in change.labels {
        if let value { update.labels[name] = value } else { update.removedLabels.append(name) }
      }
      update.annotations = annotations
      update.owners = try await owners(manifest, change)
      let fields = Set(change.changes.map { $0.field.split(separator: ".").dropFirst().first.map(String.init) ?? "" })
      if fields.contains("restart") { update.restart = spec.restart ?? VMSpec.Restart() }
      if fields.contains("limits") { update.limits = spec.limits ?? VMSpec.Limits() }
      if fields.contains("stopTimeout") {
        (update.stopTimeout, update.usualStopTimeout) = (spec.stopTimeout, spec.stopTimeout == nil)
      }
      update.updatePolicy = spec.updatePolicy
      update.pullPolicy = spec.image.pullPolicy
      try await engine.update(vm, update)
      if let wish = change.changes.first(where: { $0.field == "spec.state" })?.new?.string.flatMap(DesiredState.init) {
        try await bring(try await engine.vm(vm.metadata.uid), to: wish, progress)
      }
    }
  }

  /// The VM, if nobody has changed it since the plan was made; a status may have come in between.
  private func unchanged(_ change: PlannedChange) async throws -> VM {
    let vm = try await engine.vm(change.name)
    guard vm.metadata.uid == change.uid else {
      throw EngineError(
        .wrongState, "the VM \"\(change.name)\" is not the one that was planned for", advice: "plan again")
    }
    return vm
  }

  private func bring(_ vm: VM, to state: DesiredState, _ progress: @escaping Report) async throws {
    switch (vm.status.phase, state) {
    case (.paused, .paused), (.running, .running): return
    case (.paused, .running): if let warning = try await engine.unpause(vm) { progress(.notice(warning)) }
    case (let phase, .stopped): if phase.isActive { try await engine.stop(vm) }
    case (let phase, _):
      if !phase.isActive {
        try await engine.start(vm, waitsForClient: false, notify: { progress(.notice($0)) }).running()
      }
      if state == .paused { try await engine.pause(try await engine.vm(vm.metadata.uid)) }
    }
  }

  // MARK: Metadata

  func annotations(_ change: PlannedChange, _ manifest: Manifest) throws -> [String: String] {
    let encoder = APICoding.encoder()
    encoder.outputFormatting.insert(.sortedKeys)
    // What configuration said last is the object itself; a secret stands nowhere else.
    let spec = KindSchema.configKinds.contains(manifest.kind) ? JSONValue.object([:]) : manifest.given
    let value = JSONValue.object(["spec": spec, "labels": .object(manifest.labels.mapValues(JSONValue.string))])
    var annotations = manifest.annotations
    if edited[manifest.title] == nil {
      annotations[Self.lastAppliedKey] = String(decoding: try encoder.encode(value), as: UTF8.self)
    }
    let inventory = "metadata.annotations.\(Self.inventoryKey)"
    if let name = change.changes.first(where: { $0.field == inventory })?.new?.string {
      annotations[Self.inventoryKey] = name
    }
    return annotations
  }

  /// Whom the object is to belong to.
  /// - Parameter change: where it is there, its change; nil leaves no owner as it is.
  func owners(_ manifest: Manifest, _ change: PlannedChange?) async throws -> [ObjectReference]? {
    if let change, change.action != .create,
      !change.changes.contains(where: { $0.field == PlannedChange.ownerField })
    {
      return nil
    }
    guard let owner = manifest.owner else { return [] }
    guard let (kind, name) = ObjectReference.parts(ofTitle: owner),
      let object = try await engine.declared(kind: kind, name: name)
    else {
      throw EngineError(.notFound, "\(owner), which \(manifest.title) belongs to, is gone", advice: "plan again")
    }
    return [ObjectReference(kind: kind, name: name, uid: object.metadata.uid)]
  }
}

extension PlannedChange {
  /// Labels to set; nil takes one away.
  var labels: [String: String?] {
    var labels: [String: String?] = [:]
    for change in changes {
      if let name = change.field.withoutPrefix("metadata.labels.") {
        labels.updateValue(change.new?.string, forKey: name)
      }
    }
    return labels
  }
}

extension String {
  fileprivate func withoutPrefix(_ prefix: String) -> String? {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
  }
}

/// What has not come about of a plan, object by object.
struct ApplyFailures {
  private var errors: [(title: String, error: any Error)] = []
  /// Titles of what was not begun with, for what it needs has failed.
  var left: [String] = []

  mutating func note(_ change: PlannedChange, _ error: (any Error)?) {
    if let error { errors.append((change.title, error)) }
  }

  func tell() throws {
    guard let first = errors.first else { return }
    if errors.count == 1, left.isEmpty { throw ObjectFailure(title: first.title, error: first.error) }
    let said = errors.prefix(10).map { "\($0.title): \(userMessage($0.error))" }
    let more = errors.count > said.count ? ["\(errors.count - said.count) more"] : []
    let waiting = left.isEmpty ? [] : ["not begun with: \(left.prefix(10).joined(separator: ", "))"]
    throw EngineError(
      .unavailable,
      "\(errors.count == 1 ? "1 object" : "\(errors.count) objects") failed: \((said + more + waiting).joined(separator: "; "))",
      advice: "what is done stays done; the next apply goes on from there")
  }
}

/// What one object failed for.
struct ObjectFailure: UserFacingError {
  let title: String
  let error: any Error

  var message: String { "\(title): \((error as? any UserFacingError)?.message ?? userMessage(error))" }
  var advice: String? { (error as? any UserFacingError)?.advice }
}
