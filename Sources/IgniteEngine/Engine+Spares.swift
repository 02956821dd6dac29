internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteNetwork
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

/// What has to be equal for a VM to be made of a spare: a supervisor whose machine was thawed and configured ahead.
struct SpareKind: Codable, Hashable, Sendable {
  /// The kind of its object, whose name is the UID that the VM will have.
  static let objectKind = "Spare"
  static let socketName = "spare.sock"

  /// The template's key.
  var template: String
  /// The image's disk, which its guest has mounted.
  var baseDisk: String
  var network: String
  /// The supervisor's program.
  var program: String
}

/// What is known of a spare beside its kind.
struct SpareStatus: Codable, Sendable {
  /// As root, the user of its processes, who will be the VM's.
  var userID: UInt32?
}

/// A spare that waits for what it will be, and for nobody else any more.
struct ClaimedSpare: Sendable {
  let uid: String
  let kind: SpareKind
  let claim: SpareClaim
}

extension Engine {
  /// A spare that this VM can be made of, if one waits.
  func claimSpare(
    _ spec: VMSpec, image: ImportedImage, kernel: ImportedKernel, isMachine: Bool, accelerator: String?,
    notify: Notify
  ) async throws -> ClaimedSpare? {
    guard driver == .qemu, configuration.warmPool.size > 0, configuration.templates.enabled, spec.cold != true,
      spec.reclaimMemory != true, spec.volumes == nil, spec.limits == nil
    else { return nil }
    let waiting = try await spares()
    guard waiting.contains(where: { $0.kind.baseDisk == image.disk }) else { return nil }
    var request = TemplateRequest()
    request.cpus = spec.resources.cpus
    request.memoryBytes = spec.resources.memory.bytes
    request.diskBytes = spec.resources.disk.bytes
    request.isMachine = isMachine
    request.accelerator = accelerator
    guard
      let kind = try await spareKind(
        request, image: image, kernel: kernel, hasPorts: !spec.network.ports.isEmpty, notify: notify)
    else { return nil }
    for spare in waiting where spare.kind == kind {
      let path = "\(paths.vmRun(spare.uid))/\(SpareKind.socketName)"
      let user = spare.status.userID ?? getuid()
      if let claim = await ThreadExecutor.run({ SpareClaim.ask(path, user: user) }) {
        Timeline.mark("spare")
        return ClaimedSpare(uid: spare.uid, kind: kind, claim: claim)
      }
    }
    return nil
  }

  /// The kind of spare for such VMs of the image; nil where none can serve them.
  func spareKind(
    _ request: TemplateRequest, image: ImportedImage, kernel: ImportedKernel, hasPorts: Bool, notify: Notify
  ) async throws -> SpareKind? {
    let network: String
    switch UserNetworkChoice.network(mode: configuration.network.userMode) {
    case .passt(let program): network = program
    // The ports of the hypervisor's own network are told to it at its start.
    case .restricted: if hasPorts { return nil } else { network = "restricted" }
    }
    var request = request
    request.baseBytes = LaunchPlan.size(of: "\(paths.data)/disks/\(image.disk)")
    let shape = try await shape(request, kernel: kernel, notify: notify)
    let hypervisor = try QEMUHypervisor()
    let cache = installationCache
    let identity = try await ThreadExecutor.run { () throws(HypervisorError) in
      try shape.identity(hypervisor, cache: cache)
    }
    return SpareKind(
      template: identity.key.hex, baseDisk: image.disk, network: network, program: try Self.programIdentity())
  }

  private static func programIdentity() throws -> String {
    let path = try Installation.executable()
    var info = stat()
    guard stat("/proc/self/exe", &info) == 0 else { throw SystemError("look at \(path)") }
    return "\(path) \(info.st_dev) \(info.st_ino) \(info.st_size) \(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)"
  }

  /// A spare's object, read.
  struct RecordedSpare: Sendable {
    let object: StoredObject
    let kind: SpareKind
    let status: SpareStatus
    var uid: String { object.name }
  }

  /// The kinds of those that wait to be taken.
  func waitingSpares() async throws -> [SpareKind] {
    try await spares().filter { spare in
      access("\(paths.vmRun(spare.uid))/\(SpareKind.socketName)", F_OK) == 0 && FileLock.isHeld(paths.vmLock(spare.uid))
    }.map(\.kind)
  }

  /// All spares that are remembered, the oldest first; some may have ended, or be VMs by now.
  func spares() async throws -> [RecordedSpare] {
    let decoder = APICoding.decoder()
    return try await store.list(kind: SpareKind.objectKind).compactMap { object in
      guard let kind = try? decoder.decode(SpareKind.self, from: object.spec),
        let status = try? decoder.decode(SpareStatus.self, from: object.status)
      else { return nil }
      return RecordedSpare(object: object, kind: kind, status: status)
    }
  }
}
