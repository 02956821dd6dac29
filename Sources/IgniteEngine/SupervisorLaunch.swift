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

  private static let name = "launch.json"

  /// Writes the plan, and this beside it. Blocking.
  func write(_ plan: SpawnPlan) throws {
    let folder = files.plan.split(separator: "/").dropLast().map { "/" + $0 }.joined()
    for (path, bytes) in [
      (files.plan, try JSONEncoder().encode(plan)), ("\(folder)/\(Self.name)", try JSONEncoder().encode(self)),
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
    guard let data = FileManager.default.contents(atPath: path) else { throw SystemError("read \(path)", code: ENOENT) }
    return try JSONDecoder().decode(SupervisorLaunch.self, from: data)
  }

  /// Starts the supervisor. It inherits the VM's lock; the caller gives up its own hold on it.
  func launch(lock: FileLock, template: OpenedTemplate?) async throws -> NoticeReader {
    let pipe = try FileDescriptor.pipe()
    let executable = try Installation.executable()
    let request = try request(executable: executable, notices: pipe.write, lock: lock, template: template)
    _ = try await ThreadExecutor.run { () throws(SystemError) in try IgniteSystem.launch(request) }
    pipe.write.close()
    return NoticeReader(pipe: pipe.read)
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
    guard let userID else { return request }
    // Where it is missing the driver says so.
    let qemu = try QEMUHypervisor.find() ?? QEMUHypervisor().program
    var programs = [qemu]
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
    mounts += extra
    request.isolation = Isolation(uid: userID, gid: userID, mounts: mounts)
    request.cgroup = Cgroup.create(uid).cgroup
    return request
  }
}
