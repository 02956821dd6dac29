internal import FoundationEssentials
public import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

/// One line of what the data directory holds.
public struct UsageRow: Codable, Sendable, Equatable {
  public enum Kind: String, Codable, Sendable, CaseIterable {
    /// Base disks; those with the same layers share one.
    case images = "Images"
    case blobs = "Blobs"
    case kernels = "Kernels"
    /// Kernels booted and frozen.
    case templates = "Templates"
    /// VMs' disks, logs and plans.
    case vms = "VMs"
    /// Disks that outlive their VMs.
    case volumes = "Volumes"
    /// Imports under way, and what those that died left.
    case ingest = "Ingest"
    /// The database, caches, and the directories themselves.
    case records = "Records"
    /// What is not ours.
    case unaccounted = "Unaccounted"
  }

  public var type: Kind
  public var count = 0
  public var active = 0
  /// Bytes on the host's file system.
  public var size: Int64 = 0
  /// Bytes that come back when all that is not active is removed.
  public var reclaimable: Int64 = 0

  init(_ type: Kind) { self.type = type }
}

/// What the data directory holds, to the byte: the rows' sizes add up to what du(1) says.
public struct Usage: Sendable {
  public var rows: [UsageRow]
  public var images: [(record: ImageRecord, disk: Int64, blobs: Int64, vms: Int)] = []
  public var vms: [(vm: VM, size: Int64)] = []
  public var kernels: [(record: KernelRecord, size: Int64, vms: Int)] = []
  /// Paths below the data directory that nothing accounts for.
  public var unaccounted: [(path: String, size: Int64)] = []
  public var total: Int64 { rows.reduce(0) { $0 + $1.size } }
}

extension Engine {
  /// Measures the data directory. It is this engine's last operation: the database is closed first, so that what is only
  /// there while it is open is not measured.
  public func usage() async throws -> Usage {
    let vms = try await vms()
    let images = try await imageRecords()
    let kernels = try await kernelRecords()
    let spares = try await spares().map(\.uid)
    let volumes = try await volumes()
    try await store.close()
    let root = paths.data
    let store = contentStore
    let measured = try await ThreadExecutor.run { () throws -> Measure in
      var measure = Measure(
        uids: Set(vms.map(\.metadata.uid)).union(spares), volumeIDs: Set(volumes.map(\.volume.metadata.uid)))
      measure.abandoned = Set(try store.abandoned() + KernelStore(root: root).abandoned().map(\.path))
      try FileTree.walk(root) { measure.add($0) }
      return measure
    }
    return usage(measured, vms: vms, images: images, kernels: kernels, volumes: volumes)
  }

  private func usage(
    _ measure: Measure, vms: [VM], images: [ImageRecord], kernels: [KernelRecord], volumes: [VolumeSummary]
  ) -> Usage {
    let inUse = images.filter { record in vms.contains { $0.uses(record.image) } }
    let active = needs(images: inUse, vms: vms)
    var rows: [UsageRow.Kind: UsageRow] = [:]
    for kind in UsageRow.Kind.allCases { rows[kind] = UsageRow(kind) }
    func add(_ kind: UsageRow.Kind, _ size: Int64, active isActive: Bool, counts: Bool = true) {
      rows[kind]?.size += size
      if counts { rows[kind]?.count += 1 }
      if isActive && counts { rows[kind]?.active += 1 }
      if !isActive { rows[kind]?.reclaimable += size }
    }
    for (name, size) in measure.disks { add(.images, size, active: active.disks.contains(name), counts: false) }
    rows[.images]?.count = Set(images.map(\.image.manifestDigest)).count
    rows[.images]?.active = Set(inUse.map(\.image.manifestDigest)).count
    for (digest, size) in measure.blobs { add(.blobs, size, active: active.blobs.contains(digest)) }
    var usage = Usage(rows: [])
    for vm in vms {
      let size = measure.vms[vm.metadata.uid] ?? 0
      add(.vms, size, active: vm.status.phase.isActive)
      usage.vms.append((vm, size))
    }
    for (digest, size) in measure.kernels {
      let record = kernels.first { $0.kernel.digest == digest }
      let users = record.map { record in vms.count { $0.boots(record) } } ?? 0
      add(.kernels, size, active: users > 0 || record?.isDefault == true)
      if let record { usage.kernels.append((record, size, users)) }
    }
    for volume in volumes {
      add(.volumes, measure.volumes[volume.volume.metadata.uid] ?? 0, active: !volume.vms.isEmpty)
    }
    for (_, size) in measure.templates { add(.templates, size, active: false) }
    for (path, size) in measure.ingest {
      add(.ingest, size, active: !measure.abandoned.contains { path == $0 || path.hasPrefix($0 + "/") })
    }
    rows[.records]?.size = measure.records
    usage.unaccounted = measure.unaccounted
    rows[.unaccounted]?.count = measure.unaccounted.count
    rows[.unaccounted]?.size = measure.unaccounted.reduce(0) { $0 + $1.size }
    usage.rows = UsageRow.Kind.allCases.compactMap { kind in
      rows[kind].flatMap { $0.type == .unaccounted && $0.count == 0 ? nil : $0 }
    }
    usage.images = images.map { record in
      let blobs = record.image.blobs.reduce(Int64(0)) { $0 + (measure.blobs[$1] ?? 0) }
      return (record, measure.disks[record.image.disk] ?? 0, blobs, vms.count { $0.uses(record.image) })
    }
    return usage
  }
}

extension VM {
  fileprivate func boots(_ record: KernelRecord) -> Bool {
    spec.kernel.map { $0.oci == record.kernel.name } ?? (status.kernelDigest == record.kernel.digest.description)
  }
}

/// The data directory's files by what they are.
private struct Measure: Sendable {
  let uids: Set<String>
  let volumeIDs: Set<String>
  /// Paths that imports which died left.
  var abandoned: Set<String> = []
  var disks: [String: Int64] = [:]
  var blobs: [Digest: Int64] = [:]
  var kernels: [Digest: Int64] = [:]
  var vms: [String: Int64] = [:]
  var volumes: [String: Int64] = [:]
  var templates: [String: Int64] = [:]
  var ingest: [String: Int64] = [:]
  var records: Int64 = 0
  var unaccounted: [(path: String, size: Int64)] = []

  private static let folders: Set<String> = [
    "", "content", "content/blobs", "content/blobs/sha256", "content/ingest", "disks", "kernels", "templates", "vms",
    "plans", "volumes", "sources",
  ]
  private static let files: Set<String> = [
    "ignite.db", "ignite.db-wal", "ignite.db-shm", "ignite.db-journal", "ignite.db.rev", "ignite.db.reserve",
    "events", "events.1", "tsc.json", "kvm.json", "qemu.json", "emulation-announced",
    "shares-announced",
  ]

  init(uids: Set<String>, volumeIDs: Set<String>) {
    self.uids = uids
    self.volumeIDs = volumeIDs
  }

  mutating func add(_ entry: FileTree.Entry) {
    let path = entry.path
    if entry.isDirectory ? Self.folders.contains(path) : Self.files.contains(path) {
      records += entry.bytes
      return
    }
    let parts = path.split(separator: "/").map(String.init)
    switch parts.first {
    // What was fetched last from each, and is bounded.
    case "sources" where parts.count > 1: records += entry.bytes
    case "vms" where parts.count > 1 && uids.contains(parts[1]),
      "plans" where parts.count > 1 && uids.contains(parts[1]):
      vms[parts[1], default: 0] += entry.bytes
    case "volumes"
    where parts.count == 2 && parts[1].hasSuffix(".ext4") && volumeIDs.contains(String(parts[1].dropLast(5))):
      volumes[String(parts[1].dropLast(5)), default: 0] += entry.bytes
    case "kernels" where parts.count > 1:
      if let digest = Digest("sha256:\(parts[1])") {
        kernels[digest, default: 0] += entry.bytes
      } else if KernelStore.isWorkspace(parts[1]) {
        ingest["kernels/\(parts[1])", default: 0] += entry.bytes
      } else {
        unaccounted.append((path, entry.bytes))
      }
    case "templates" where parts.count > 1:
      if TemplateKey(parts[1]) != nil {
        templates[parts[1], default: 0] += entry.bytes
      } else if TemplateStore.isOwn(parts[1]) {
        ingest["templates/\(parts[1])", default: 0] += entry.bytes
      } else {
        unaccounted.append((path, entry.bytes))
      }
    case "disks" where parts.count == 2 && !entry.isDirectory:
      switch ContentStore.kind(ofDisk: parts[1]) {
      case .disk: disks[parts[1], default: 0] += entry.bytes
      case .leftover: ingest[path, default: 0] += entry.bytes
      default: unaccounted.append((path, entry.bytes))
      }
    case "content" where parts.count == 4 && parts[1] == "blobs" && parts[2] == "sha256" && !entry.isDirectory:
      if let digest = Digest("sha256:\(parts[3])") {
        blobs[digest, default: 0] += entry.bytes
      } else {
        unaccounted.append((path, entry.bytes))
      }
    case "content" where parts.count == 3 && parts[1] == "ingest" && !entry.isDirectory:
      ingest[path, default: 0] += entry.bytes
    default: unaccounted.append((path, entry.bytes))
    }
  }
}
