internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteNetwork
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

/// One start of a VM, prepared: the supervisor's plan, and the root and user that it runs in.
struct LaunchPlan {
  private let vm: VM
  private let kernel: ImportedKernel
  private let accelerator: AcceleratorChoice
  private let network: UserNetworkChoice
  private let userID: UInt32?
  private let plan: SpawnPlan
  /// Where the VM's files are on the host.
  private let files: VMFiles
  private let configs: [String: String]
  private let way: Way
  /// nil where the VM starts cold by wish.
  let template: Template?
  private let volumes: [VolumeDisk]
  private let shares: SupervisorLaunch.Shares?
  private let limits: CgroupLimits?
  private let driver: Driver

  /// How the machine is brought up.
  enum Way: Sendable {
    /// The kernel boots.
    case cold
    /// From the template of its kind, where there is one.
    case warm
    /// On this spare, whose files and template it takes over.
    case spare(ClaimedSpare)
    /// As a spare itself.
    case ahead
  }

  static func make(
    engine: Engine, vm: VM, waitsForClient: Bool, size: TerminalSize, accelerator wanted: String?,
    way: Way, notify: Engine.Notify
  ) async throws -> LaunchPlan {
    let uid = vm.metadata.uid
    let image = try engine.imageOfVM(uid)
    let kernel = try await engine.kernel(vm.spec.kernel?.oci)
    let store = KernelStore(root: engine.paths.data)
    let initPath = try Installation.guestInit(environment: engine.environment)
    let initrd = try await ThreadExecutor.run { () throws(ImageError) in
      try store.initrd(for: kernel, initPath: initPath)
    }
    let driver = engine.driver
    let accelerator =
      driver == .doesNothing
      ? .none : try await AcceleratorChoice.make(wanted, paths: engine.paths, notify: notify)
    let isRoot = getuid() == 0
    let userID = isRoot ? try await engine.allocateUser(uid) : nil
    let files = VMFiles(
      data: engine.paths.vmData(uid), run: engine.paths.vmRun(uid), plan: engine.paths.plan(uid),
      base: "\(engine.paths.data)/disks/\(image.disk)", vmlinux: store.vmlinux(of: kernel), initrd: initrd,
      modules: store.modulesDisk(of: kernel))
    guard access(files.base, R_OK) == 0 else {
      throw EngineError(
        .notFound, "the base disk of VM \"\(vm.metadata.name)\" is gone: \(files.base)",
        advice: "import its image again: ignite image import \(vm.spec.image.oci)")
    }
    let seen =
      isRoot
      ? VMFiles(
        data: "/vm", run: "/run/vm", plan: VMFiles.isolatedPlan, base: "/ignite/base.ext4", vmlinux: "/ignite/vmlinux",
        initrd: "/ignite/initrd", modules: files.modules.map { _ in "/ignite/modules.ext4" })
      : files

    let network = try await UserNetworkChoice.make(vm: vm, mode: engine.configuration.network.userMode)
    let hostname = vm.spec.hostname ?? vm.metadata.shortUID
    let given = try await engine.givenConfig(of: vm)
    var spec = vm.spec
    spec.process.env = given.environment + spec.process.env
    let planner = ProcessPlanner(spec: spec, image: image.config.config, hostname: hostname)
    let process = try planner.process(size: size)
    let volumes = try await engine.volumeDisks(of: vm)
    var shape = MachineShape(
      kernel: kernel, vmlinux: files.vmlinux, initrd: files.initrd, modules: files.modules,
      kernelArguments: Engine.kernelArguments(isMachine: process.machine), cpus: vm.spec.resources.cpus,
      memoryBytes: vm.spec.resources.memory.bytes, baseBytes: Self.size(of: files.base),
      diskBytes: Self.size(of: files.data + "/disk.ext4"), accelerator: accelerator)
    shape.reclaimsMemory = vm.spec.reclaimMemory ?? false
    let shares = driver == .doesNothing ? [] : VolumeMount.shares(of: vm.spec.volumes)
    let shareFolder = isRoot ? SupervisorLaunch.isolatedShares : engine.paths.vmShares(uid)
    shape.shares = shares.indices.map { "\(shareFolder)/\($0).sock" }
    shape.volumes = volumes.map { MachineShape.Volume(bytes: $0.bytes, readOnly: $0.readOnly) }
    var machine = shape.configuration(
      MachineShape.Files(
        vmlinux: seen.vmlinux, initrd: seen.initrd, modules: seen.modules, base: seen.base,
        disk: seen.data + "/disk.ext4", run: seen.run), macAddress: GuestAddressing.macAddress(uid: uid))
    let firstVolume = machine.drives.count - volumes.count
    for (index, volume) in volumes.enumerated() where volume.isBlockDevice {
      machine.drives[firstVolume + index].blockDevice = true
    }
    let template: Template? =
      switch way {
      case _ where driver == .doesNothing: nil
      case .cold: nil
      case _ where !shares.isEmpty: nil
      case .spare(let spare): Template(spare.kind, shape)
      case .warm, .ahead: try await Template.find(shape, vm: vm, engine: engine, notify: notify)
      }
    var plan = SpawnPlan(
      uid: uid, name: vm.metadata.name, paths: SpawnPlan.Paths(data: seen.data, run: seen.run), machine: machine,
      network: driver == .doesNothing ? .none : network.plan,
      guest: Self.guest(hostname: hostname, uid: uid, modules: seen.modules != nil),
      process: process, stopSignal: planner.stopSignal, waitsForClient: waitsForClient)
    plan.files = given.archive
    plan.request = RequestID.current
    plan.doesNothing = driver == .doesNothing ? true : nil
    plan.guest.mounts = vm.spec.volumes.map { VolumeMount.planned($0, firstDrive: firstVolume) }
    plan.template = template?.isThawed == true ? template?.key.hex : nil
    plan.discards = vm.spec.autoRemove && volumes.allSatisfy(\.readOnly) ? true : nil
    plan.logs = SpawnPlan.Logs(
      maxSize: Int64(clamping: vm.spec.logs?.maxSize?.bytes ?? engine.configuration.logs.maxSize),
      maxFiles: vm.spec.logs?.maxFiles ?? Int(engine.configuration.logs.maxFiles))
    plan.health = HealthChoice.plan(vm.spec.health, image: image.config.config.healthcheck)
    plan.restart = vm.spec.restart.flatMap { restart in
      restart.policy == .never ? nil : SpawnPlan.Restart(policy: restart.policy.rawValue, limit: restart.max)
    }
    if case .ahead = way {
      guard plan.template != nil else {
        throw EngineError(
          .notFound, "there is no template of this kind to start hypervisors from",
          advice: "make it by starting such a VM, or with `ignite template build`")
      }
      plan.spare = SpawnPlan.Spare(
        socket: seen.run + "/" + SpareKind.socketName, idle: engine.configuration.warmPool.keepIdle)
    }
    let made = LaunchPlan(
      vm: vm, kernel: kernel, accelerator: accelerator, network: network, userID: userID,
      plan: plan, files: files, configs: given.versions, way: way, template: template, volumes: volumes,
      shares: shares.isEmpty ? nil : .init(shares: shares, folder: engine.paths.vmShares(uid)),
      limits: try vm.spec.limits.map { (limits) throws(EngineError) in try CgroupLimits(limits) }, driver: driver)
    try await made.prepareFiles()
    return made
  }

  /// A file's size in bytes; 0 where it cannot be looked at, which whoever opens it says better.
  static func size(of path: String) -> UInt64 {
    var info = stat()
    return stat(path, &info) == 0 ? UInt64(max(0, info.st_size)) : 0
  }

  /// What the guest is told; all but its names is the same for every VM of a kernel.
  static func guest(hostname: String, uid: String, modules: Bool) -> SpawnPlan.Guest {
    SpawnPlan.Guest(
      hostname: hostname, machineID: uid + uid, modulesDevice: modules ? "vdc" : "",
      macAddress: GuestAddressing.macAddress(uid: uid),
      address: "\(GuestAddressing.address)/\(GuestAddressing.prefixLength)", gateway: GuestAddressing.gateway,
      nameServers: [GuestAddressing.nameServer], searchDomains: [])
  }

  /// What its supervisor runs in.
  private var supervisor: SupervisorLaunch {
    SupervisorLaunch(
      uid: vm.metadata.uid, userID: userID, files: files, network: plan.network,
      usesKVM: accelerator.accelerator == .kvm, volumes: volumes.isEmpty ? nil : volumes, shares: shares,
      limits: limits, cgroup: limits != nil && userID == nil ? Cgroup.place(of: vm.metadata.uid) : nil,
      doesNothing: plan.doesNothing)
  }

  /// Directories and files with their owners, and the plan.
  private func prepareFiles() async throws {
    let files = files
    let (plan, supervisor) = (plan, supervisor)
    let userID = userID
    let isThere = if case .spare = way { true } else { false }
    try await ThreadExecutor.run { () throws -> Void in
      if !isThere {
        try FileTree.remove(files.run)
        guard mkdir(files.run, 0o700) == 0 else { throw SystemError("make the directory \(files.run)") }
      }
      try supervisor.write(plan)
      guard let userID, !isThere else { return }
      // A fresh VM's files are root's; later ones are the VM's own already.
      for path in [files.run, files.data, files.data + "/disk.ext4"] where lchown(path, userID, userID) != 0 {
        throw SystemError("give \(path) to user \(userID)")
      }
    }
  }

  /// What is known of the start, for the VM's status.
  func describe(_ status: inout VMStatus) {
    status.hypervisor = driver.name
    status.userID = userID
    status.observedGeneration = vm.metadata.generation
    status.configs = configs.isEmpty ? nil : configs
    let now = Date()
    guard driver == .qemu else { return describeNothing(&status, now) }
    status.accelerator = accelerator.accelerator.rawValue
    status.kernel = kernel.name
    status.kernelDigest = kernel.digest.description
    status.addresses = [GuestAddressing.address]
    let emulated = accelerator.accelerator == .tcg
    status.set(
      Condition(
        type: "Isolated", status: !emulated, reason: emulated ? "Emulated" : "HardwareVirtualization",
        message: emulated
          ? "the machine is emulated, which QEMU calls no security boundary" : "the machine runs under KVM", time: now))
    status.set(network.condition(time: now))
  }

  private func describeNothing(_ status: inout VMStatus, _ now: Date) {
    status.accelerator = nil
    status.kernel = nil
    status.kernelDigest = nil
    status.addresses = []
    for type in ["Isolated", "OutboundNetwork"] {
      status.set(
        Condition(
          type: type, status: false, reason: driver.name, message: DoesNothingHypervisor.explanation, time: now))
    }
  }

  /// Has the VM's supervisor run it.
  /// - Parameter lock: the VM's; nil where its spare's supervisor holds it.
  func begin(lock: FileLock?) async throws -> NoticeReader {
    if case .spare(let spare) = way { return try await hand(to: spare) }
    guard let lock else { throw EngineError(.wrongState, "the VM \"\(vm.metadata.name)\" is not locked") }
    return try await supervisor.launch(lock: lock, template: template?.opened)
  }

  /// Makes the spare's supervisor this VM's.
  private func hand(to spare: ClaimedSpare) async throws -> NoticeReader {
    let pipe = try FileDescriptor.pipe()
    let path = files.plan
    try await ThreadExecutor.run { () throws(SystemError) in
      try spare.claim.make(plan: try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW), notices: pipe.write)
    }
    pipe.write.close()
    return NoticeReader(pipe: pipe.read)
  }
}

extension Engine {
  /// The VM's user on the host, its own for as long as it exists.
  func allocateUser(_ uid: String) async throws -> UInt32 {
    let first = Int64(configuration.users.first)
    let range = first...(first + Int64(configuration.users.count) - 1)
    return UInt32(try await store.allocate(pool: "users", owner: uid, range: range))
  }

  /// The image that the VM was made from, whatever its reference names today.
  func imageOfVM(_ uid: String) throws -> ImportedImage {
    let path = paths.image(uid)
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EngineError(
        .unavailable, "the record of the VM's image is gone: \(path)",
        advice: "remove the VM: ignite rm \(uid.prefix(12))")
    }
    return try APICoding.decoder().decode(ImportedImage.self, from: data)
  }
}
