public import FoundationEssentials
public import IgniteAPI
internal import IgniteStore
internal import IgniteSystem

/// What a list shows of a VM.
public struct VMColumns: Sendable {
  public var name: String
  public var labels: [String: String]
  public var created: Date
  public var state: String
  public var phase: VMPhase
  /// The driver of its last start.
  public var hypervisor: String?

  init(_ vm: VM) {
    name = vm.metadata.name
    labels = vm.metadata.labels ?? [:]
    created = vm.metadata.creationTimestamp
    state = vm.spec.state.rawValue
    phase = vm.status.phase
    hypervisor = vm.status.hypervisor
  }

  init(_ row: ObjectColumns, phase: VMPhase) {
    name = row.name
    labels = row.labels
    created = row.created
    state = row.values[0] ?? ""
    self.phase = phase
    hypervisor = row.values[4]
  }
}

extension Engine {
  /// All VMs with their state as it is now, oldest first, of which only columns are read where that is enough: of one that
  /// has news in its journal, or has lost its supervisor, the whole object is looked at.
  /// - Parameter fields: what they have to have, of metadata and spec: a status is known once it was looked at.
  public func vmColumns(_ fields: [FieldSelector.Requirement] = []) async throws -> [VMColumns] {
    let rows = try await store.columns(
      kind: VM.kind, spec: ["$.state", "$.autoRemove"], status: ["$.phase", "$.journalOffset", "$.hypervisor"],
      fields: fields)
    var found: [VMColumns] = []
    for row in rows {
      let phase = row.values[2].flatMap(VMPhase.init(rawValue:))
      if let phase, phase != .removing, !row.isDeleted, phase.isActive || row.values[1] != "1",
        // Whoever holds the lock writes down what happens: looked at first, so that an end in between is seen as news.
        !phase.isActive || FileLock.isHeld(paths.vmLock(row.uid)),
        !hasNews(row.uid, offset: UInt64(row.values[3] ?? "0") ?? 0)
      {
        found.append(VMColumns(row, phase: phase))
      } else if let vm = try await vm(named: row.name) {
        found.append(VMColumns(vm))
      }
    }
    return found
  }
}
