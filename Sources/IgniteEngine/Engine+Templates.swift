internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
public import IgniteHypervisor
internal import IgniteImages
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

/// What a template is made for.
public struct TemplateRequest: Sendable {
  /// An imported kernel's name; nil is the default one.
  public var kernel: String?
  public var cpus = 1
  public var memoryBytes: UInt64 = 512 << 20
  public var diskBytes: UInt64 = 4 << 30
  /// The size of the images' base disks as devices.
  public var baseBytes: UInt64 = DiskSize.least
  /// For images that boot their own init.
  public var isMachine = false
  /// `kvm`, `tcg` or nil for what the host can do.
  public var accelerator: String?
  /// For VMs that give back what their guests free.
  public var reclaimsMemory = false
  /// Further disks: `10g`, or `10g:ro`.
  public var volumes: [String] = []

  public init() {}
}

extension Engine {
  public var templates: TemplateStore {
    TemplateStore(
      data: paths.data, run: paths.run, maximumBytes: configuration.templates.maxBytes,
      keepIdle: configuration.templates.keepIdle)
  }

  /// A machine's log is its console; the kernel's own `quiet` would silence systemd too.
  static func kernelArguments(isMachine: Bool) -> [String] { isMachine ? ["systemd.show_status=1"] : [] }

  var installationCache: String { paths.data + "/qemu.json" }

  /// Makes a template: boots a machine that is nobody's, and freezes it. nil where another process makes the same one.
  public func buildTemplate(_ request: TemplateRequest, notify: Notify) async throws -> TemplateRecord? {
    try Self.check(request.resources)
    let shape = try await shape(request, kernel: try await kernel(request.kernel), notify: notify)
    let hypervisor = try QEMUHypervisor()
    let cache = installationCache
    let store = templates
    let identity = try await ThreadExecutor.run { () throws(HypervisorError) in
      try shape.identity(hypervisor, cache: cache)
    }
    guard let making = try await ThreadExecutor.run({ () throws(HypervisorError) in try store.beginMaking(identity) })
    else { return nil }
    do {
      let state = try await freeze(shape, hypervisor, identity.key, memory: making.memory)
      CrashPoint.pass(.templateFrozen)
      return try await ThreadExecutor.run { () throws(HypervisorError) in try making.commit(state: state) }
    } catch {
      making.abandon()
      store.noteFailure(identity.key, userMessage(error))
      throw error
    }
  }

  func shape(_ request: TemplateRequest, kernel: ImportedKernel, notify: Notify) async throws -> MachineShape {
    let store = KernelStore(root: paths.data)
    let initPath = try Installation.guestInit(environment: environment)
    let initrd = try await ThreadExecutor.run { () throws(ImageError) in
      try store.initrd(for: kernel, initPath: initPath)
    }
    var shape = MachineShape(
      kernel: kernel, vmlinux: store.vmlinux(of: kernel), initrd: initrd, modules: store.modulesDisk(of: kernel),
      kernelArguments: Self.kernelArguments(isMachine: request.isMachine), cpus: request.cpus,
      memoryBytes: request.memoryBytes, baseBytes: request.baseBytes, diskBytes: request.diskBytes,
      accelerator: try await AcceleratorChoice.make(request.accelerator, paths: paths, notify: notify),
      volumes: try request.volumes.map(MachineShape.Volume.init(text:)))
    shape.reclaimsMemory = request.reclaimsMemory
    return shape
  }

  /// Boots and freezes in a directory that is gone afterwards, as root under a user of its own.
  private func freeze(
    _ shape: MachineShape, _ hypervisor: QEMUHypervisor, _ key: TemplateKey, memory: FileDescriptor
  ) async throws -> [UInt8] {
    // As long as a VM's, for the sockets' sake; no UID begins with a t.
    let name = "t" + key.hex.prefix(11)
    let run = paths.vmRun(name)
    let owner = "template-\(key.hex)"
    let user = getuid() == 0 ? try await allocateUser(owner) : nil
    defer { try? FileTree.remove(run) }
    do {
      let files = MachineShape.Files(
        vmlinux: shape.vmlinux, initrd: shape.initrd, modules: shape.modules, base: run + "/base", disk: run + "/disk",
        volumes: shape.volumes.indices.map { run + "/volume\($0)" }, run: run)
      var disks = [(files.base, shape.baseBytes), (files.disk, shape.diskBytes)]
      disks += zip(files.volumes ?? [], shape.volumes).map { ($0, $1.bytes) }
      let standIns = disks
      try await ThreadExecutor.run { () throws -> Void in
        try FileTree.remove(run)
        guard mkdir(run, 0o700) == 0 else { throw SystemError("make the directory \(run)") }
        for (path, size) in standIns {
          let file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
          guard ftruncate(file.number, off_t(clamping: size)) == 0 else { throw SystemError("make \(path)") }
        }
        guard let user else { return }
        for path in [run] + standIns.map(\.0) where lchown(path, user, user) != 0 {
          throw SystemError("give \(path) to user \(user)")
        }
      }
      let maker = try TemplateMaker(
        shape.configuration(files, macAddress: nil),
        guest: LaunchPlan.guest(hostname: "", uid: "", modules: shape.modules != nil), hypervisor: hypervisor,
        console: run + "/console.log")
      let state = try await maker.freeze(
        memory: memory, confinement: confinement(shape, hypervisor, files, user: user), socket: run + "/state.sock")
      if user != nil { try await store.release(pool: "users", owner: owner) }
      return state
    } catch {
      if user != nil { try? await store.release(pool: "users", owner: owner) }
      throw error
    }
  }

  private func confinement(
    _ shape: MachineShape, _ hypervisor: QEMUHypervisor, _ files: MachineShape.Files, user: UInt32?
  ) -> MachineConfinement {
    guard let user else { return MachineConfinement() }
    var mounts = Isolation.system(programs: [hypervisor.program], kvm: shape.accelerator.accelerator == .kvm)
    mounts.append(Isolation.same(files.run, .writable))
    for path in [files.vmlinux, files.initrd, files.modules].compactMap(\.self) { mounts.append(Isolation.same(path)) }
    return MachineConfinement(isolation: Isolation(uid: user, gid: user, mounts: mounts))
  }

  /// Has a template of that shape made by another process, which takes what time others leave.
  func buildTemplateInBackground(_ request: TemplateRequest, _ key: TemplateKey) throws {
    guard configuration.templates.automatic, !templates.isTried(key) else { return }
    try launchInBackground(
      ["template", "build", "--background", "--base-size", "\(request.baseBytes)"] + request.arguments)
  }

  /// Starts this program for what nobody waits for.
  func launchInBackground(_ arguments: [String]) throws {
    var kept: [String: String] = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"]
    for name in ["HOME", "XDG_CONFIG_HOME", "IGNITE_TEMPLATES", "IGNITE_LIBEXEC", "TMPDIR"] {
      kept[name] = environment[name]
    }
    kept[RequestID.variable] = RequestID.current?.rawValue
    var process = LaunchRequest(
      executable: try Installation.executable(),
      arguments: ["ignite"] + arguments.prefix(2) + ["--data-dir", paths.data, "--run-dir", paths.run]
        + arguments.dropFirst(2), environment: kept, newSession: true, workingDirectory: "/")
    // It does what this command could do itself.
    process.keepsRights = true
    _ = try IgniteSystem.launch(process)
  }
}

extension TemplateRequest {
  var resources: VMSpec.Resources {
    var resources = VMSpec.Resources()
    resources.cpus = cpus
    resources.memory = ByteQuantity(bytes: memoryBytes)
    resources.disk = ByteQuantity(bytes: diskBytes)
    return resources
  }

  /// As options of a command.
  var arguments: [String] {
    var words = ["--cpus", "\(cpus)", "--memory", "\(memoryBytes >> 20)m", "--size", "\(diskBytes)"]
    if let kernel { words += ["--kernel-image", kernel] }
    if let accelerator { words += ["--accel", accelerator] }
    if isMachine { words += ["--boot", "machine"] }
    if reclaimsMemory { words.append("--reclaim-memory") }
    for volume in volumes { words += ["--volume", volume] }
    return words
  }
}
