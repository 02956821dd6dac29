internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// One object, as `describe` tells of it.
struct ObjectDescription {
  private enum Object {
    case vm(VM)
    case volume(VolumeSummary)
    case composed(DeclaredObject)
    case config(DeclaredObject)
    case host(DeclaredObject)
    case gitOps(DeclaredObject)
  }

  private static let mostEvents = 20

  let kind: String
  let metadata: ObjectMeta
  private let object: Object
  private let controller: Controller

  var title: String { "\(kind)/\(metadata.name)" }

  /// All of a kind, by name.
  static func all(_ kind: String, _ controller: Controller) async throws -> [ObjectDescription] {
    let engine = controller.engine
    let found: [(ObjectMeta, Object)] =
      switch kind {
      case VM.kind: try await engine.vms().map { ($0.metadata, .vm($0)) }
      case Volume.kind: try await engine.volumes().map { ($0.volume.metadata, .volume($0)) }
      case ConfigMap.kind, Secret.kind: try await engine.declared(kind: kind).map { ($0.metadata, .config($0)) }
      case GitOps.repository, GitOps.directory, GitOps.sync:
        try await engine.declared(kind: kind).map { ($0.metadata, .gitOps($0)) }
      case HostKind.image, HostKind.kernel: try await engine.declared(kind: kind).map { ($0.metadata, .host($0)) }
      default: try await engine.declared(kind: kind).map { ($0.metadata, .composed($0)) }
      }
    return found.sorted { $0.0.name < $1.0.name }.map {
      ObjectDescription(kind: kind, metadata: $0, object: $1, controller: controller)
    }
  }

  /// - Parameter events: of all objects.
  func text(_ events: [CountedEvent]) async throws -> String {
    var text = DescriptionText()
    addMetadata(&text)
    switch object {
    case .vm(let vm):
      text.add(vm.spec)
      text.add(vm.status, vm.readiness(wish: vm.spec.state))
      text.conditions(vm.status.conditions.map { (condition: $0, time: $0.lastTransitionTime) })
    case .volume(let summary):
      text.field("Size", summary.volume.spec.size.description)
      text.field("Used by", summary.vms.isEmpty ? ["<none>"] : summary.vms.map { "vm/\($0)" })
    case .composed(let object): try await addComposed(object, &text)
    case .config(let object): addConfig(object, &text)
    case .gitOps(let object): addGitOps(object, &text)
    case .host(let object):
      text.field("Source", object.spec["oci"]?.string ?? object.status["source"]?.string ?? "<none>")
      let record = object.status["image"] ?? object.status["kernel"]
      for (title, field) in [
        ("Digest", "manifestDigest"), ("Digest", "digest"), ("Platform", "platform"), ("Version", "version"),
      ] {
        if let value = record?[field]?.string { text.field(title, value) }
      }
    }
    try await addPending(&text)
    addEvents(events, &text)
    return text.text()
  }

  private func addMetadata(_ text: inout DescriptionText) {
    func pairs(_ texts: [String: String]?, _ sign: String) -> [String] {
      let shown = (texts ?? [:]).filter { $0.key != Controller.lastAppliedKey }.sorted { $0.key < $1.key }
      return shown.isEmpty ? ["<none>"] : shown.map { "\($0.key)\(sign)\($0.value)" }
    }
    text.field("Name", metadata.name)
    text.field("Kind", kind)
    text.field("UID", metadata.uid)
    text.field("Labels", pairs(metadata.labels, "="))
    text.field("Annotations", pairs(metadata.annotations, ": "))
    text.field("Created", DescriptionText.moment(metadata.creationTimestamp))
    if let gone = metadata.deletionTimestamp { text.field("Deleting since", DescriptionText.moment(gone)) }
    text.field("Owner", metadata.ownerTitle ?? "<none>")
  }

  /// Keys and sizes; of what is no secret the text, too.
  private func addConfig(_ object: DeclaredObject, _ text: inout DescriptionText) {
    if let type = object.spec["type"]?.string { text.field("Type", type) }
    if object.spec["immutable"]?.bool == true { text.field("Immutable", "true") }
    let data = ConfigData(kind: kind, spec: object.spec).values.sorted { $0.key < $1.key }
    var lines: [String] = []
    for (key, bytes) in data {
      let value = kind == Secret.kind ? nil : object.spec["data"]?[key]?.string
      guard let value else {
        lines.append("  \(key): \(bytes.count) bytes")
        continue
      }
      lines.append("  \(key):")
      lines += value.split(separator: "\n", omittingEmptySubsequences: false).map { "    \($0)" }
      if value.hasSuffix("\n") { lines.removeLast() }
    }
    text.lines("Data", lines.isEmpty ? ["  <none>"] : lines)
  }

  private func addGitOps(_ object: DeclaredObject, _ text: inout DescriptionText) {
    text.field("Status", SyncNames.word(of: object))
    let conditions: [Condition]
    if object.kind == GitOps.sync {
      let status = SyncStatus(object)
      conditions = status.conditions
      if let source = object.sourceTitle { text.field("Source", source) }
      text.field("Applied", status.lastAppliedRevision ?? "<none>")
      text.field("Attempted", status.lastAttemptedRevision ?? "<none>")
      text.field("Objects", status.inventory.isEmpty ? ["<none>"] : status.inventory)
    } else {
      let status = SourceStatus(object)
      conditions = status.conditions
      text.field("From", object.spec["url"]?.string ?? object.spec["path"]?.string ?? "")
      text.field("Revision", status.artifact?.revision ?? "<none>")
      if let artifact = status.artifact {
        text.field("Content", "\(artifact.files) files, \(artifact.bytes) bytes")
        if let subject = artifact.subject { text.field("Subject", subject) }
      }
    }
    text.conditions(conditions.map { (condition: $0, time: $0.lastTransitionTime) })
  }

  private func addComposed(_ object: DeclaredObject, _ text: inout DescriptionText) async throws {
    if let replicas = object.spec["replicas"]?.integer { text.field("Replicas", "\(replicas)") }
    if let update = object.spec["update"]?.string { text.field("Update", update) }
    if let image = object.spec["template"]?["spec"]?["image"]?["oci"]?.string { text.field("Image", image) }
    let state = try await controller.state(of: object)
    text.field("Status", state.word)
    text.field("Ready", "\(state.ready) of \(state.total)")
    if let reason = state.readiness.reason { text.field("Held back by", reason) }
    var table = Table(["PART", "READY", "MESSAGE"])
    for part in try await controller.parts(of: object) {
      table.add([part.manifest.title, part.readiness == .ready ? "Yes" : "No", part.readiness.reason ?? ""])
    }
    text.table("Parts", table)
    text.conditions(
      (state.status["conditions"]?.items ?? []).map { value in
        var condition = Condition(type: "", status: false, reason: "", message: "", time: metadata.creationTimestamp)
        condition.type = value["type"]?.string ?? ""
        condition.status = value["status"]?.string ?? ""
        condition.reason = value["reason"]?.string ?? ""
        condition.message = value["message"]?.string ?? ""
        return (condition, nil)
      })
  }

  /// What its manifest says, and it is not.
  private func addPending(_ text: inout DescriptionText) async throws {
    do {
      let plan: ObjectPlan? =
        switch object {
        case .composed(let object): try await controller.pending(object)
        case .config, .host, .gitOps: nil
        case .vm, .volume: try await controller.pending(kind: kind, metadata)
        }
      guard let plan, !plan.isEmpty else { return }
      text.lines("Pending", PlanText.lines(plan).dropLast(2).map { "  \($0)" })
    } catch let error as any UserFacingError {
      text.lines("Pending", ["  " + userMessage(error)])
    }
  }

  private func addEvents(_ events: [CountedEvent], _ text: inout DescriptionText) {
    let mine = events.filter { event in
      // Others had its name before it.
      kind == VM.kind
        ? event.uid == metadata.uid
        : event.title == title && event.last.timeIntervalSince(metadata.creationTimestamp) > -0.01
    }
    guard !mine.isEmpty else { return text.lines("Events", ["  <none>"]) }
    var table = Table(["TYPE", "ACTION", "AGE", "MESSAGE"])
    for event in mine.suffix(Self.mostEvents) {
      table.add([EventRows.type(event), event.action, EventRows.ages(event), event.message])
    }
    text.table("Events", table)
  }
}
