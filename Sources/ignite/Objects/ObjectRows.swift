internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

/// Objects of a kind as lines of a table.
struct ObjectRows {
  struct Row {
    var name: String
    var labels: [String: String]
    var manifest: JSONValue
    /// The age is the last of them.
    var cells: [String]
    var wide: [String]

    /// What tells one state of the object from another.
    var key: [String] { cells.dropLast() + wide }
    /// The line of one that is gone.
    var ended: Row {
      var row = self
      if row.cells.count > 1 { row.cells[row.cells.count - 2] = "Deleted" }
      return row
    }
  }

  let controller: Controller
  let schema: KindSchema
  /// Only what the table shows is read, and the manifests have no more than `briefFields`.
  var isBrief = false
  /// What the objects have to have.
  var fields: [FieldSelector.Requirement] = []

  /// What the manifests of brief rows have, beside what the store looks up itself.
  static let briefFields: Set<String> = ["metadata.name", "status.phase"]

  var heads: ([String], [String]) {
    switch schema.kind {
    case VM.kind: (["NAME", "STATE", "STATUS", "AGE"], ["IMAGE", "CPUS", "MEMORY", "OWNER", "UID"])
    case Volume.kind: (["NAME", "SIZE", "AGE"], ["VMS", "OWNER", "UID"])
    case ConfigMap.kind: (["NAME", "DATA", "AGE"], ["OWNER", "UID"])
    case Secret.kind: (["NAME", "TYPE", "DATA", "AGE"], ["OWNER", "UID"])
    case GitOps.repository, GitOps.directory: (["NAME", "REVISION", "STATUS", "AGE"], ["FROM", "UID"])
    case GitOps.sync: (["NAME", "SOURCE", "REVISION", "STATUS", "AGE"], ["PATH", "UID"])
    case HostKind.image: (["NAME", "DIGEST", "SIZE", "AGE"], ["SOURCE", "UID"])
    case HostKind.kernel: (["NAME", "VERSION", "DEFAULT", "AGE"], ["DIGEST", "UID"])
    default: (["NAME", "READY", "STATUS", "AGE"], ["OWNER", "UID"])
    }
  }

  func read() async throws -> [Row] {
    let rows =
      switch schema.kind {
      case VM.kind: try await isBrief ? briefVMs() : vms()
      case Volume.kind: try await volumes()
      case ConfigMap.kind, Secret.kind: try await configs()
      case GitOps.repository, GitOps.directory, GitOps.sync: try await gitOps()
      case HostKind.image: try await images()
      case HostKind.kernel: try await kernels()
      default: try await composed()
      }
    return rows.filter { row in remaining.allSatisfy { $0.suits(row.manifest) } }
  }

  /// What the store has VMs looked up by. A status it knows only as it was when somebody looked at the VM last.
  private var stored: [FieldSelector.Requirement] {
    schema.kind == VM.kind ? fields.filter { !$0.path.hasPrefix("status.") } : []
  }
  private var remaining: [FieldSelector.Requirement] { fields.filter { !stored.contains($0) } }

  /// Something in the store has changed, or a second has passed: without a daemon what ends by itself is seen by a look.
  func nextChange() async throws {
    let watch = controller.engine.watch()
    let version = try await watch.version()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { _ = try await watch.next(after: version) }
      group.addTask { try await Task.sleep(for: .seconds(1)) }
      _ = try await group.next()
      group.cancelAll()
    }
  }

  private func age(_ metadata: ObjectMeta) -> String {
    Output.span(Date().timeIntervalSince(metadata.creationTimestamp))
  }

  private func owner(_ metadata: ObjectMeta) -> String {
    metadata.ownerTitle ?? ""
  }

  private func briefVMs() async throws -> [Row] {
    let now = Date()
    return try await controller.engine.vmColumns(stored).map { vm in
      Row(
        name: vm.name, labels: vm.labels,
        manifest: ["metadata": ["name": .string(vm.name)], "status": ["phase": .string(vm.phase.rawValue)]],
        cells: [
          vm.name, vm.state, vm.phase.text(hypervisor: vm.hypervisor), Output.span(now.timeIntervalSince(vm.created)),
        ], wide: [])
    }
  }

  private func vms() async throws -> [Row] {
    try await controller.engine.vms(stored).map { vm in
      var manifest = try ManifestWriter.manifest(of: vm, kind: VM.kind)
      if var status = manifest["status"] {
        status["conditions"] = .array(try vm.allConditions)
        manifest["status"] = status
      }
      return Row(
        name: vm.metadata.name, labels: vm.metadata.labels ?? [:], manifest: manifest,
        cells: [
          vm.metadata.name, vm.spec.state.rawValue, vm.status.phase.text(hypervisor: vm.status.hypervisor),
          age(vm.metadata),
        ],
        wide: [
          ImageNames.familiar(vm.spec.image.oci), "\(vm.spec.resources.cpus)", vm.spec.resources.memory.description,
          owner(vm.metadata), vm.metadata.uid,
        ])
    }
  }

  private func volumes() async throws -> [Row] {
    try await controller.engine.volumes().map { summary in
      let volume = summary.volume
      return Row(
        name: volume.metadata.name, labels: volume.metadata.labels ?? [:],
        manifest: try ManifestWriter.manifest(of: volume, kind: Volume.kind),
        cells: [volume.metadata.name, volume.spec.size.description, age(volume.metadata)],
        wide: [summary.vms.joined(separator: ", "), owner(volume.metadata), volume.metadata.uid])
    }
  }

  private func configs() async throws -> [Row] {
    try await controller.engine.declared(kind: schema.kind).map { object in
      let count = "\(ConfigData(kind: schema.kind, spec: object.spec).values.count)"
      let type = schema.kind == Secret.kind ? [object.spec["type"]?.string ?? "Opaque"] : []
      return Row(
        name: object.metadata.name, labels: object.metadata.labels ?? [:],
        manifest: try ManifestWriter.manifest(of: object, kind: schema.kind),
        cells: [object.metadata.name] + type + [count, age(object.metadata)],
        wide: [owner(object.metadata), object.metadata.uid])
    }
  }

  private func gitOps() async throws -> [Row] {
    try await controller.engine.declared(kind: schema.kind).map { object in
      let revision: String?
      let cells: [String]
      let wide: String
      if schema.kind == GitOps.sync {
        let status = SyncStatus(object)
        revision = status.lastAppliedRevision
        cells = [object.sourceTitle ?? ""]
        wide = object.spec["path"]?.string ?? "./"
      } else {
        revision = SourceStatus(object).artifact?.revision
        cells = []
        wide = object.spec["url"]?.string ?? object.spec["path"]?.string ?? ""
      }
      return Row(
        name: object.metadata.name, labels: object.metadata.labels ?? [:],
        manifest: try ManifestWriter.manifest(of: object, kind: schema.kind),
        cells: [object.metadata.name] + cells
          + [revision.map(Controller.short) ?? "<none>", SyncNames.word(of: object), age(object.metadata)],
        wide: [wide, object.metadata.uid])
    }
  }

  private func images() async throws -> [Row] {
    try await hostObjects(controller.engine.imageRecords().map { ($0.image.name, $0) }) { record in
      (
        [
          String(record.image.manifestDigest.hex.prefix(12)),
          ByteQuantity(bytes: UInt64(max(0, record.image.diskUsage))).rounded,
        ],
        record.source ?? record.image.name
      )
    }
  }

  private func kernels() async throws -> [Row] {
    try await hostObjects(controller.engine.kernelRecords().map { ($0.kernel.name, $0) }) { record in
      (
        [record.kernel.version, record.isDefault == true ? "Yes" : "No"],
        String(record.kernel.digest.hex.prefix(12))
      )
    }
  }

  /// Images and kernels, of which some are declared, and others were imported by hand.
  private func hostObjects<Record>(
    _ records: [(String, Record)], _ cells: (Record) -> (cells: [String], wide: String)
  ) async throws -> [Row] {
    let objects = try await controller.engine.declared(kind: schema.kind)
    let byName = Dictionary(objects.map { ($0.metadata.name, $0) }) { first, _ in first }
    return try records.compactMap { (name, record) -> Row? in
      guard let object = byName[name] else { return nil }
      let shown = cells(record)
      return Row(
        name: name, labels: object.metadata.labels ?? [:],
        manifest: try ManifestWriter.manifest(of: object, kind: schema.kind),
        cells: [ImageNames.familiar(name)] + shown.cells + [age(object.metadata)],
        wide: [shown.wide, object.metadata.uid])
    }
  }

  private func composed() async throws -> [Row] {
    var rows: [Row] = []
    for object in try await controller.engine.declared(kind: schema.kind) {
      let state = try await controller.state(of: object)
      var shown = object
      shown.status = state.status
      rows.append(
        Row(
          name: object.metadata.name, labels: object.metadata.labels ?? [:],
          manifest: try ManifestWriter.manifest(of: shown, kind: schema.kind),
          cells: [object.metadata.name, "\(state.ready)/\(state.total)", state.word, age(object.metadata)],
          wide: [owner(object.metadata), object.metadata.uid]))
    }
    return rows
  }
}
