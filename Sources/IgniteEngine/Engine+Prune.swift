public import FoundationEssentials
internal import Glibc
public import IgniteAPI
public import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

/// What a prune is to take away.
public struct PruneRequest: Sendable {
  /// Images that no VM uses too, and what failed imports left within the grace period.
  public var all = false
  /// Only what was made before.
  public var until: Date?
  /// Only images and VMs with these labels (`KEY` or `KEY=VALUE`), or without them where `isExcluded`.
  public var labels: [Label] = []
  public var dryRun = false
  /// Volumes that no VM has too: anonymous ones, or with `all` all.
  public var volumes = false

  public struct Label: Sendable {
    public var text: String
    public var isExcluded: Bool

    public init(_ text: String, isExcluded: Bool) {
      self.text = text
      self.isExcluded = isExcluded
    }
  }

  public init() {}
}

/// What a prune took away, or would.
public struct PruneReport: Sendable {
  public var vms: [VM] = []
  public var images: [ImportedImage] = []
  /// Blobs, disks and leftovers of imports.
  public var cleanup = CleanupReport()
  /// What kernels' imports that died left, as paths below the data root.
  public var kernelLeftovers: [String] = []
  /// Templates that no VM could start from any more.
  public var templates: [TemplateSummary] = []
  public var volumes: [Volume] = []
  /// Bytes given back to the host's file system.
  public var bytes: Int64 = 0

  public init() {}
}

extension Engine {
  /// Takes away images that are not needed; a dry run lists exactly what a real run then removes.
  public func pruneImages(_ request: PruneRequest) async throws -> PruneReport {
    _ = try await vms()
    return try await pruneImages(request, without: [])
  }

  /// Takes away stopped VMs, images that are not needed, and what imports that died left behind.
  public func prune(_ request: PruneRequest) async throws -> PruneReport {
    // A VM that was just made is about to be started.
    let recent = Date().addingTimeInterval(-60)
    let doomed = try await vms().filter {
      !$0.status.phase.isActive && ($0.status.phase != .created || $0.metadata.creationTimestamp < recent)
        && request.suits($0)
    }
    var bytes: Int64 = 0
    for vm in doomed {
      bytes += try await usage(of: vm)
      if !request.dryRun { try await remove(vm) }
    }
    var report = try await pruneImages(request, without: Set(doomed.map(\.metadata.uid)))
    report.vms = doomed
    report.bytes += bytes
    if request.volumes {
      var anonymous = request
      anonymous.all = false
      let (volumes, bytes) = try await pruneVolumes(anonymous)
      report.volumes = volumes
      report.bytes += bytes
    }
    let kernels = KernelStore(root: paths.data)
    let abandoned = await ThreadExecutor.run { kernels.abandoned() }
    report.kernelLeftovers = abandoned.map(\.path)
    report.bytes += abandoned.reduce(0) { $0 + $1.bytes }
    if !request.dryRun { await ThreadExecutor.run { kernels.removeAbandoned() } }
    if request.labels.isEmpty {
      report.templates = try await pruneTemplates(all: false, until: request.until, dryRun: request.dryRun)
      report.bytes += report.templates.reduce(0) { $0 + Int64(clamping: $1.size) }
    }
    return report
  }

  private func pruneImages(_ request: PruneRequest, without removed: Set<String>) async throws -> PruneReport {
    var doomed: [ImportedImage] = []
    let cleanup = try await contentStore.cleanUp {
      let vms = try await recordedVMs().filter { !removed.contains($0.metadata.uid) }
      var kept: [ImageRecord] = []
      for record in try await imageRecords() {
        let goes = request.all && request.suits(record) && !vms.contains { $0.uses(record.image) }
        if goes { doomed.append(record.image) } else { kept.append(record) }
      }
      var cleanup = CleanupRequest(needs: needs(images: kept, vms: vms))
      cleanup.grace = request.grace(configured: configuration.images.gracePeriod)
      for image in doomed { cleanup.atOnce.add(image) }
      cleanup.dryRun = request.dryRun
      if !request.dryRun { for image in doomed { try await forgetImage(image.name) } }
      return cleanup
    }
    if !request.dryRun {
      for image in doomed { await note(Event("image", "delete", id: image.name)) }
      let disks = Set(doomed.map(\.disk))
      try await endSpares { disks.contains($0.baseDisk) }
    }
    var report = PruneReport()
    report.images = doomed
    report.cleanup = cleanup
    report.bytes = cleanup.bytes
    return report
  }

  /// What a VM's files take on the host.
  private func usage(of vm: VM) async throws -> Int64 {
    let folders = [paths.vmData(vm.metadata.uid), paths.plans(vm.metadata.uid)]
    return try await ThreadExecutor.run { () throws(SystemError) -> Int64 in
      var bytes: Int64 = 0
      for folder in folders {
        try FileTree.walk(folder) { entry in bytes += entry.bytes }
      }
      return bytes
    }
  }
}

extension PruneRequest {
  /// Docker's reading: an image's age is that of its making, where it says it.
  func suits(_ record: ImageRecord) -> Bool {
    if let until, (record.image.created.flatMap(TimeSpan.date) ?? record.imported) >= until { return false }
    return labels.allSatisfy { record.image.config.config.hasLabel($0.text) != $0.isExcluded }
  }

  func suits(_ vm: VM) -> Bool {
    if let until, vm.metadata.creationTimestamp >= until { return false }
    return suits(labels: vm.metadata.labels ?? [:])
  }

  /// For how many seconds what nothing needs stays.
  func grace(configured: Int64) -> Int64 {
    // A blob has no labels, so none is asked for by one.
    guard labels.isEmpty else { return Int64(Int32.max) }
    let grace = all ? 0 : configured
    guard let until else { return grace }
    return max(grace, Int64(min(Double(Int32.max), max(0, -until.timeIntervalSinceNow))))
  }
}
