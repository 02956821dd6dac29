internal import FoundationEssentials
internal import Glibc
internal import IgniteHypervisor
internal import IgniteNetwork
internal import IgniteSupervisor
internal import IgniteSystem

/// Paths of a VM's files: on the host, or as its supervisor sees them in a root of its own.
struct VMFiles: Codable, Sendable {
  var data: String
  var run: String
  var plan: String
  var base: String
  var vmlinux: String
  var initrd: String
  var modules: String?

  static let isolatedPlan = "/ignite/spawn.json"
}

/// What a VM's supervisor runs in: its root, its user and its cgroup. Kept beside the plan, for a successor.
struct SupervisorLaunch: Codable, Sendable {
  var uid: String
  var userID: UInt32?
  /// On the host.
  var files: VMFiles
  var network: SpawnPlan.Network
  var usesKVM: Bool
  /// Opened for the hypervisor, whose descriptors they are.
  var volumes: [VolumeDisk]?
  var shares: Shares?
  var limits: CgroupLimits?
  /// The directory of an ordinary user's VM that has limits: another session of his finds no way to it.
  var cgroup: String?
  /// The host's boot in which this was written; nil in those of older versions.
  var boot: String? = HostBoot.id
  /// It has no hypervisor's program to start.
  var doesNothing: Bool?

  /// Directories of the host, which a keeper beside the supervisor serves.
  struct Shares: Codable, Sendable {
    var shares: [ShareKeeper.Share]
    /// Where its sockets are.
    var folder: String
  }

  /// That folder, as an isolated supervisor sees it.
  static let isolatedShares = "/run/shares"
  /// In the supervisor: what the keeper's life hangs on.
  private static let lifePlace: Int32 = 9

  private static let name = "launch.json"

  /// The folder of the plan.
  private var plans: String { files.plan.split(separator: "/").dropLast().map { "/" + $0 }.joined() }

  /// Writes the plan, and this beside it. Blocking.
  func write(_ plan: SpawnPlan) throws {
    for (path, bytes) in [
      (files.plan, try JSONEncoder().encode(plan)), ("\(plans)/\(Self.name)", try JSONEncoder().encode(self)),
    ] {
      // An earlier start's is read-only.
      unlink(path)
      let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o444)
      let written = bytes.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
      guard written == bytes.count else { throw SystemError("write \(path)") }
    }
  }

  /// What the VM's last start left in its folder of plans. Blocking.
  static func read(plans folder: String) throws -> SupervisorLaunch {
    let path = "\(folder)/\(name)"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EngineError(.unavailable, "an older ignite started it, which left nothing to go on with (\(path))")
    }
    return try JSONDecoder().decode(SupervisorLaunch.self, from: data)
  }

  /// Starts the supervisor. It inherits the VM's lock; the caller gives up its own hold on it.
  /// - Parameter restarts: it is not the VM's first start.
  func launch(
    lock: FileLock, template: OpenedTemplate?, isSuccessor: Bool = false, restarts: Restarts? = nil
  ) async throws -> NoticeReader {
    let pipe = try FileDescriptor.pipe()
    let executable = try Installation.executable()
    var request = try request(executable: executable, notices: pipe.write, lock: lock, template: template)
    request.arguments += restarts?.arguments ?? []
    let disks = volumes ?? []
    let opened = try await ThreadExecutor.run { () throws(SystemError) -> [FileDescriptor] in
      try disks.map { disk throws(SystemError) in try disk.open(isSuccessor: isSuccessor) }
    }
    for (index, file) in opened.enumerated() {
      request.descriptors.append(
        .init(source: file.number, place: MachineShape.firstVolumePlace + Int32(index)))
    }
    let cgroup = request.cgroup
    // Closed here once the supervisor has it.
    let life = try await ThreadExecutor.run { () throws -> FileDescriptor? in
      try startKeeper(executable: executable, cgroup: cgroup)
    }
    if let life { request.descriptors.append(.init(source: life.number, place: Self.lifePlace)) }
    let launched = request
    defer { withExtendedLifetime((opened, life)) {} }
    _ = try await ThreadExecutor.run { () throws(SystemError) in try IgniteSystem.launch(launched) }
    pipe.write.close()
    return NoticeReader(pipe: pipe.read)
  }

  /// Binds the sockets, in a directory that the VM's user cannot write to, and starts who serves them. Blocking.
  private func startKeeper(executable: String, cgroup: Cgroup?) throws -> FileDescriptor? {
    guard let shares else { return nil }
    for share in shares.shares {
      var info = stat()
      guard stat(share.path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
        throw EngineError(
          .notFound, "the directory \(share.path), which the VM has mounted, is not there",
          advice: "make it again, or make the VM anew without it")
      }
    }
    try FileTree.remove(shares.folder)
    guard mkdir(shares.folder, 0o711) == 0 else { throw SystemError("make the directory \(shares.folder)") }
    let listeners = try shares.shares.indices.map { index in
      let path = "\(shares.folder)/\(index).sock"
      let listener = try UnixSocket.listen(path, backlog: 1)
      if let userID, lchown(path, userID, userID) != 0 { throw SystemError("give \(path) to user \(userID)") }
      return listener
    }
    let messages = try FileDescriptor.open(
      plans + "/shares.log", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
    let pipe = try FileDescriptor.pipe()
    try ShareKeeper.start(
      shares.shares, executable: executable, wrapper: try SharePlace.wrapper(), folder: shares.folder, life: pipe.read,
      listeners: listeners, messages: messages, cgroup: cgroup)
    return pipe.write
  }

  private func request(
    executable: String, notices: FileDescriptor, lock: FileLock, template: OpenedTemplate?
  ) throws -> LaunchRequest {
    var request = LaunchRequest(
      executable: executable,
      arguments: ["ignite-spawn", userID == nil ? files.plan : VMFiles.isolatedPlan],
      environment: ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"].merging(CrashPoint.environment) { $1 },
      descriptors: [.init(source: notices.number, place: 3), .init(source: lock.descriptor.number, place: 4)],
      newSession: true, workingDirectory: userID == nil ? "/" : nil, limits: [.noCore, .openFiles(4096)])
    if let template {
      request.descriptors += [
        .init(source: template.memory.number, place: 5), .init(source: template.state.number, place: 6),
        .init(source: template.lease.number, place: 7),
      ]
    }
    guard let userID else {
      // An ordinary user's VM is in the user's own cgroup, unless it needs one.
      if limits != nil { request.cgroup = try limitedCgroup() }
      return request
    }
    var programs: [String] = []
    // Where it is missing the driver says so.
    if doesNothing != true { programs = [try QEMUHypervisor.find() ?? QEMUHypervisor().program] }
    var extra: [Isolation.Mount] = []
    if case .passt(let settings) = network {
      programs += settings.programs
      extra = PasstSettings.mounts
    }
    var mounts = Isolation.system(programs: programs, thisProgram: true, kvm: usesKVM)
    mounts += [
      .bind(source: files.data, target: "/vm", .writable),
      .bind(source: files.run, target: "/run/vm", .writable),
      .bind(source: files.plan, target: VMFiles.isolatedPlan, []),
      .bind(source: files.base, target: "/ignite/base.ext4", []),
      .bind(source: files.vmlinux, target: "/ignite/vmlinux", []),
      .bind(source: files.initrd, target: "/ignite/initrd", []),
    ]
    if let modules = files.modules { mounts.append(.bind(source: modules, target: "/ignite/modules.ext4", [])) }
    if let shares { mounts.append(.bind(source: shares.folder, target: Self.isolatedShares, [])) }
    mounts += extra
    request.isolation = Isolation(uid: userID, gid: userID, mounts: mounts)
    request.cgroup = limits == nil ? Cgroup.create(uid).cgroup : try limitedCgroup()
    return request
  }

  private func limitedCgroup() throws -> Cgroup? {
    switch Cgroup.create(uid) {
    case .unavailable(let reason):
      throw EngineError(.unavailable, "the VM's limits cannot be kept: \(reason)", advice: "leave them out")
    case .created(let cgroup):
      if let limits { try cgroup.apply(limits) }
      return cgroup
    }
  }
}
