internal import FoundationEssentials
internal import IgniteAPI
public import IgniteEngine
internal import IgniteSources
internal import IgniteSystem

/// How a sync is run.
public struct SyncOptions: Sendable {
  /// By a person: also where it is suspended.
  public var isManual = false
  /// More than half of its objects may go.
  public var allowsMassDeletion = false
  /// Instead of the newest: a revision, or the first digits of its commit.
  public var revision: String?

  public init() {}
}

/// What has become of one run.
public enum SyncOutcome: Sendable {
  /// All is as the revision has it.
  case unchanged(revision: String)
  /// So many changes were made.
  case applied(revision: String, changes: Int)
  /// Something was changed by hand, and that is only told.
  case drifted(revision: String, titles: [String])
  case suspended
  /// For what, in a sentence.
  case waiting(String)
  /// Another process is at it.
  case busy
  case gone
}

extension Controller {
  /// What the newest revision of a sync's source comes to.
  public func plan(sync name: String, revision: String? = nil) async throws -> (ObjectPlan, revision: String) {
    let object = try await sync(name)
    let spec = try SyncSpec(object)
    let artifact = try await artifact(for: object, spec, revision: revision)
    let manifests = try await manifests(of: artifact, spec)
    return (try await plan(manifests, of: name, spec), artifact.revision)
  }

  /// - Throws: `notFound`.
  public func sync(_ name: String) async throws -> DeclaredObject {
    guard let object = try await engine.declared(kind: GitOps.sync, name: name) else {
      throw EngineError(.notFound, "there is no Sync/\(name)", advice: "list them: ignite get syncs")
    }
    return object
  }

  /// Brings about what the sync's source says, and keeps that in its status.
  ///
  /// A revision is read and planned whole before anything is touched.
  /// - Throws: what is wrong with the revision, or went wrong on the way; the status has it, too.
  public func run(
    sync name: String, _ options: SyncOptions = SyncOptions(), progress: @escaping Report = { _ in }
  ) async throws -> SyncOutcome {
    // Not the object's own lock: a repository may have the sync itself among its manifests.
    guard let lock = try tryLock("\(GitOps.sync)/\(name)/run") else { return .busy }
    defer { lock.release() }
    guard let object = try await engine.declared(kind: GitOps.sync, name: name) else { return .gone }
    let spec = try SyncSpec(object)
    let began = Date()
    if spec.suspend == true, !options.isManual {
      try await write(object) { (status: inout SyncStatus) in
        status.sumUp("", reason: "Suspended", "it is suspended: ignite gitops resume \(name)", at: began)
      }
      return .suspended
    }
    if let reason = try await unmetDependency(of: spec) {
      try await write(object) { (status: inout SyncStatus) in
        status.sumUp("Reconciling", reason: "DependencyNotReady", reason, at: began)
      }
      return .waiting(reason)
    }
    var attempted: Artifact?
    do {
      let artifact = try await artifact(for: object, spec, revision: options.revision)
      attempted = artifact
      return try await bringAbout(artifact, object, spec, options, progress)
    } catch {
      if error is CancellationError { throw error }
      try await noteFailure(error, attempted?.revision, object, began)
      throw error
    }
  }

  private func bringAbout(
    _ artifact: Artifact, _ object: DeclaredObject, _ spec: SyncSpec, _ options: SyncOptions,
    _ progress: @escaping Report
  ) async throws -> SyncOutcome {
    let name = object.metadata.name
    let before = SyncStatus(object)
    let manifests = try await manifests(of: artifact, spec)
    let plan = try await plan(manifests, of: name, spec)
    try checkDeletions(plan, before, artifact, object, options)
    let isKnown =
      before.lastAppliedRevision == artifact.revision && before.lastAppliedGeneration == object.metadata.generation
    let work = plan.changes.filter(\.isWork)
    var drift: [String]?
    if isKnown, !work.isEmpty {
      let differences = work.map { "\($0.title): \($0.difference)" }
      drift = differences
      // What has been told and is still so is not news.
      await tellDrift(plan) { !(before.drift ?? []).contains("\($0.title): \($0.difference)") }
      if spec.driftPolicy == DriftPolicy.report.rawValue, !options.isManual {
        let titles = work.map(\.title)
        try await write(object) { (status: inout SyncStatus) in
          status.drift = differences
          status.sumUp("Ready", reason: "Drifted", "not as declared: \(titles.joined(separator: ", "))", at: Date())
        }
        return .drifted(revision: artifact.revision, titles: titles)
      }
    }
    if !work.isEmpty || !isKnown {
      try await write(object) { (status: inout SyncStatus) in
        status.drift = drift
        status.lastAttemptedRevision = artifact.revision
        status.lastAttemptTime = Date()
        status.sumUp("Reconciling", reason: "Progressing", "\(work.count) changes of \(artifact.revision)", at: Date())
      }
    }
    try await within(.milliseconds(spec.timeout ?? 300_000), artifact.revision, try await awaited(manifests, spec)) {
      if !work.isEmpty { _ = try await apply(plan, manifests, exactly: false, progress: progress) }
      try await awaitReady(try await awaited(manifests, spec), timeout: nil, progress: progress)
    }
    let pending = plan.changes.filter { $0.action == .pending }.map(\.title)
    let inventory = Set(manifests.map(\.title)).sorted()
    try await write(object) { (status: inout SyncStatus) in
      status.drift = nil
      status.inventory = inventory
      status.lastAttemptedRevision = artifact.revision
      if status.lastAppliedRevision != artifact.revision {
        let commit = artifact.header.commit
        status.history.insert(
          .init(
            revision: artifact.revision, time: Date(), subject: commit?.subject, author: commit?.author,
            objects: inventory.count, outcome: "Applied"), at: 0)
        status.history = Array(status.history.prefix(SyncStatus.mostHistory))
      }
      status.lastAppliedRevision = artifact.revision
      status.lastAppliedGeneration = object.metadata.generation
      let left = pending.isEmpty ? "" : "; pending: \(pending.joined(separator: ", "))"
      status.sumUp("Ready", reason: "Applied", "\(Self.short(artifact.revision))\(left)", at: Date())
    }
    if work.isEmpty, isKnown { return .unchanged(revision: artifact.revision) }
    await engine.tell(
      "sync", "applied", id: name,
      ["revision": artifact.revision, "changes": "\(work.count)", "message": artifact.header.commit?.subject ?? ""])
    return .applied(revision: artifact.revision, changes: work.count)
  }

  private func plan(_ manifests: [Manifest], of name: String, _ spec: SyncSpec) async throws -> ObjectPlan {
    let inventory = SyncSpec.inventory(name)
    let plan = try await plan(manifests, inventory: inventory, prunes: spec.prune ?? true)
    for change in plan.changes {
      let field = "metadata.annotations.\(Self.inventoryKey)"
      guard let old = change.changes.first(where: { $0.field == field })?.old?.string, old.hasPrefix("sync."),
        try await engine.declared(kind: GitOps.sync, name: String(old.dropFirst(5))) != nil
      else { continue }
      throw ManifestError(
        "\(change.title) belongs to Sync/\(old.dropFirst(5))", advice: "take it out of one of the two repositories")
    }
    return plan
  }

  /// A revision that takes away more than half of what there is may be a mistake, and is waited with.
  private func checkDeletions(
    _ plan: ObjectPlan, _ status: SyncStatus, _ artifact: Artifact, _ object: DeclaredObject, _ options: SyncOptions
  ) throws {
    let kept = Set(status.inventory)
    let gone = plan.changes.filter { $0.action == .delete && kept.contains($0.title) }.count
    guard gone * 2 > kept.count, gone > 0, !options.allowsMassDeletion else { return }
    let allowed = object.metadata.annotations?[GitOps.massDeletionKey]
    if let allowed, allowed == artifact.revision || artifact.header.commit?.id.hasPrefix(allowed) == true { return }
    throw SyncHeld(
      message: "\(Self.short(artifact.revision)) would delete \(gone) of its \(kept.count) objects, and is held back",
      advice: "if that is meant: ignite gitops sync \(object.metadata.name) --allow-mass-deletion")
  }

  private func unmetDependency(of spec: SyncSpec) async throws -> String? {
    for other in spec.dependsOn ?? [] {
      guard let object = try await engine.declared(kind: GitOps.sync, name: other.name) else {
        return "it depends on Sync/\(other.name), which is not there"
      }
      let status = SyncStatus(object)
      guard status.condition("Ready")?.status == "True", status.observedGeneration == object.metadata.generation else {
        return "it depends on Sync/\(other.name), which is not ready"
      }
    }
    return nil
  }

  /// What has to be ready for the sync to be.
  private func awaited(_ manifests: [Manifest], _ spec: SyncSpec) async throws -> [Manifest] {
    guard let checks = spec.healthChecks else { return spec.wait ?? true ? manifests : [] }
    var named: [Manifest] = []
    for check in checks {
      named.append(
        Manifest(
          place: "healthChecks", kind: check.kind, name: check.name, labels: [:], annotations: [:],
          given: try await engine.declared(kind: check.kind, name: check.name)?.spec ?? .object([:])))
    }
    return named
  }

  /// - Parameter awaited: of which the first that is not ready is named where the time is over.
  private func within(
    _ time: Duration, _ revision: String, _ awaited: [Manifest], _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        try await body()
        return true
      }
      group.addTask {
        try await Task.sleep(for: time)
        return false
      }
      defer { group.cancelAll() }
      guard try await group.next() == true else {
        let said = try await firstUnready(try Self.expanded(awaited)).map { ": \($0.title): \($0.reason)" } ?? ""
        throw EngineError(
          .wrongState, "\(Self.short(revision)) was not brought about within \(time)\(said)",
          advice: "give more: spec.timeout")
      }
    }
  }

  /// The newest artifact, or the one of a revision.
  private func artifact(for object: DeclaredObject, _ spec: SyncSpec, revision: String?) async throws -> Artifact {
    let source = try await source(spec.sourceRef.title)
    let store = artifacts(of: source)
    guard let wanted = revision else {
      guard let newest = try await store.newest() else {
        throw EngineError(
          .wrongState, "nothing has come from \(source.title) yet",
          advice: SourceStatus(source).failure?.message)
      }
      return newest
    }
    var found: [Artifact] = []
    for entry in try await store.list().reversed() {
      let artifact = try await store.read(entry)
      let commit = artifact.header.commit?.id ?? artifact.digest
      if artifact.revision == wanted || (wanted.utf8.count >= 4 && commit.hasPrefix(wanted)),
        !found.contains(where: { $0.revision == artifact.revision })
      {
        found.append(artifact)
      }
    }
    guard let artifact = found.first, found.count == 1 else {
      throw EngineError(
        found.isEmpty ? .notFound : .ambiguous,
        found.isEmpty
          ? "no revision \(wanted) of \(source.title) is kept"
          : "several revisions of \(source.title) begin with \(wanted)",
        advice: "list them: ignite gitops history \(object.metadata.name)")
    }
    return artifact
  }

  // MARK: Status

  private func noteFailure(_ error: any Error, _ revision: String?, _ object: DeclaredObject, _ time: Date) async throws
  {
    let message = userMessage(error)
    let reason =
      switch error {
      case is SyncHeld: "HeldBack"
      case is ManifestError: "BadRevision"
      default: "Failed"
      }
    if SyncStatus(object).condition("Ready")?.message != message {
      var attributes = ["reason": reason, "message": message]
      attributes["revision"] = revision
      await engine.tell("sync", error is SyncHeld ? "held" : "failed", id: object.metadata.name, attributes)
    }
    try await write(object) { (status: inout SyncStatus) in
      status.lastAttemptedRevision = revision ?? status.lastAttemptedRevision
      status.lastAttemptTime = time
      status.sumUp("Stalled", reason: reason, message, at: time)
    }
  }
}

/// A revision that is waited with until somebody agrees.
struct SyncHeld: UserFacingError {
  let message: String
  let advice: String?
}
