internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteHypervisor
public import IgniteImages
internal import IgniteNetwork
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// Makes a VM: resolves its image (importing what is not here), checks what it asks for, and makes its disk.
  ///
  /// Whatever fails leaves no object and no file.
  public func create(
    _ request: VMRequest, notify: @escaping Notify = { _ in }, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> VM {
    try await make(request, spares: false, notify: notify, progress: progress).vm
  }

  /// A VM that is about to be started: made of a spare, where one of its kind waits.
  public func createToStart(
    _ request: VMRequest, notify: @escaping Notify, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> VMToStart {
    try await make(request, spares: true, notify: notify, progress: progress)
  }

  private func make(
    _ request: VMRequest, spares: Bool, notify: Notify, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> VMToStart {
    try check(request)
    try Self.checkRuns(request.platform, of: request.image)
    if let name = request.name,
      try await store.get(kind: VM.kind, namespace: "default", name: name) != nil
    {
      throw EngineError(
        .alreadyExists, "the name \"\(name)\" is taken by another VM",
        advice: "choose another, or remove that one: ignite rm \(name)")
    }
    let kernel = try await kernel(request.kernel)
    var (image, spec) = try await resolve(request, kernel: kernel, notify: notify, progress: progress)
    Timeline.mark("resolve")
    // What it will run is decided at every start; that it can be decided is checked now.
    let process = try ProcessPlanner(spec: spec, image: image.config.config, hostname: "vm").process()

    var spare =
      spares
      ? try await claimSpare(
        spec, image: image, kernel: kernel, isMachine: process.machine, accelerator: request.accelerator, notify: notify
      )
      : nil
    var remembered = try await remember(spec, image: image, request: request, uid: spare?.uid)
    while remembered == nil {
      // The image was removed between the look at its record and now; the spare was made of it.
      spare?.claim.abandon()
      spare = nil
      (image, spec) = try await resolve(request, kernel: kernel, again: true, notify: notify, progress: progress)
      remembered = try await remember(spec, image: image, request: request, uid: nil)
    }
    guard let vm = remembered else { throw CancellationError() }
    Timeline.mark("store")
    CrashPoint.pass(.createRemembered)
    var volumes: [Volume] = []
    do {
      volumes = try await makeVolumes(of: vm)
      CrashPoint.pass(.createVolumes)
      if spare == nil { try await makeFiles(of: vm, image: image) }
      Timeline.mark("disks")
      await note(Event("vm", "create", id: vm.metadata.uid, attributes: Self.attributes(of: vm)))
      return VMToStart(vm: vm, spare: spare)
    } catch {
      spare?.claim.abandon()
      await discard(vm)
      await removeVolumes(volumes)
      throw error
    }
  }

  /// The image, imported where it is not here, and the spec of the VM that is made of it.
  /// - Parameter again: it was here, and has gone meanwhile.
  private func resolve(
    _ request: VMRequest, kernel: ImportedKernel, again: Bool = false, notify: Notify,
    progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> (ImportedImage, VMSpec) {
    let pull: PullPolicy = !again ? request.pull : request.pull == .never ? .never : .missing
    let image = try await image(
      request.image, pull: pull, platform: request.platform, progress: progress)
    try Task.checkCancellation()
    var spec = VMSpec(image: VMSpec.Image(oci: image.name, pullPolicy: request.pull))
    spec.kernel = request.kernel.map { _ in VMSpec.Kernel(oci: kernel.name) }
    spec.resources = request.resources
    spec.process = request.process
    try await decideBoot(&spec, image: image)
    spec.hostname = request.hostname
    spec.autoRemove = request.autoRemove
    spec.restart = request.restart.policy == .never ? nil : request.restart
    spec.health = request.health
    spec.logs = request.logs
    if request.health?.endsUnhealthy == true, spec.restart == nil {
      throw EngineError(
        .invalidArgument, "--restart-unhealthy needs a restart policy", advice: "give one: --restart on-failure")
    }
    spec.limits = try request.limits.map(checked)
    spec.stopSignal = request.stopSignal
    spec.stopTimeout = request.stopTimeout
    spec.cold = request.cold ? true : nil
    spec.reclaimMemory = request.reclaimMemory ? true : nil
    spec.updatePolicy = request.updatePolicy
    try Self.check(request.files, request.volumes, request.process.envFrom)
    spec.files = request.files
    spec.volumes = try await mounts(request.volumes, image: image.config.config)
    if !VolumeMount.shares(of: spec.volumes).isEmpty { announceShares(notify) }
    spec.state = .stopped
    spec.network.ports = try ports(request.ports)
    return (image, spec)
  }

  /// Images of Weave's kind boot as machines: they carry an init, and say nothing but a bare shell.
  private func decideBoot(_ spec: inout VMSpec, image: ImportedImage) async throws {
    guard ProcessPlanner.saysBareShell(spec.process, image.config.config) else { return }
    let disk = "\(paths.data)/disks/\(image.disk)"
    let looked = await Result.awaiting {
      try await ThreadExecutor.run { () throws(ImageError) in
        try BaseDiskProbe.firstProgram(of: ProcessPlanner.inits, on: disk)
      }
    }
    // A disk that has just been removed: whoever remembers the VM sees that, and resolves the image again.
    if case .failure = looked, !hasDisk(image) { return }
    guard let found = try looked.get() else { return }
    spec.process.boot = .machine
    if found != ProcessPlanner.inits[0] { spec.process.command = [found] }
  }

  /// Takes back a VM that came to nothing, ending what runs of it; the error that led here is the one to tell.
  ///
  /// It does its work even in a task that was cancelled.
  public func discard(_ vm: VM) async {
    await Task {
      let current = (try? await self.vm(vm.metadata.uid)) ?? vm
      try? await remove(current, force: true, volumes: true)
    }.value
  }

  private func check(_ request: VMRequest) throws {
    if let name = request.name, let problem = ObjectName.problem(with: name) {
      throw EngineError(.invalidArgument, "the name \"\(name)\" cannot be taken: \(problem)")
    }
    if let hostname = request.hostname, let problem = ObjectName.problem(with: hostname) {
      throw EngineError(.invalidArgument, "the host name \"\(hostname)\" cannot be taken: \(problem)")
    }
    try Self.check(request.resources)
    guard !request.autoRemove || request.restart.policy == .never else {
      throw EngineError(
        .invalidArgument, "--rm and --restart contradict each other", advice: "leave one of them out")
    }
  }

  static func check(_ resources: VMSpec.Resources) throws {
    guard (1...32).contains(resources.cpus) else {
      throw EngineError(
        .invalidArgument, "--cpus \(resources.cpus) is not possible", advice: "give a whole number from 1 to 32")
    }
    guard resources.memory.bytes >= QEMUHypervisor.minimumMemory else {
      throw EngineError(
        .invalidArgument, "a VM of \(resources.memory) does not boot",
        advice: "give it at least \(ByteQuantity(bytes: QEMUHypervisor.minimumMemory)) (-m)")
    }
    guard resources.memory.bytes <= 1 << 42, resources.memory.bytes % (1 << 20) == 0 else {
      throw EngineError(
        .invalidArgument, "a memory of \(resources.memory) is not possible", advice: "give whole MiB (-m 512m)")
    }
    guard resources.disk.bytes >= 16 << 20, resources.disk.bytes <= 1 << 44, resources.disk.bytes % 4096 == 0 else {
      throw EngineError(
        .invalidArgument, "a disk of \(resources.disk) is not possible", advice: "give from 16MiB to 16TiB (-s 4g)")
    }
  }

  /// Ports with their addresses; a port of the host is chosen where none was given.
  private func ports(_ published: [PublishedPort]) throws -> [VMSpec.Port] {
    try published.map { port in
      var port = port
      port.address = port.address ?? configuration.network.publishAddress
      let host = try port.hostPort ?? PublishedPort.freePort(for: port)
      return VMSpec.Port(
        address: port.address ?? "0.0.0.0", host: host, vm: port.vmPort, protocol: port.transport.rawValue.uppercased())
    }
  }

  /// Makes the VM's object, by which its base disk stays; nil where the image or its disk has just been removed.
  private func remember(
    _ spec: VMSpec, image: ImportedImage, request: VMRequest, uid: String?
  ) async throws -> VM? {
    try await contentStore.undisturbed {
      guard hasDisk(image), try await store.get(kind: Self.imageKind, namespace: "", name: image.name) != nil else {
        return nil
      }
      return try await makeObject(spec, image: image, request: request, uid: uid)
    }
  }

  private func makeObject(
    _ spec: VMSpec, image: ImportedImage, request: VMRequest, uid: String?
  ) async throws -> VM {
    var status = VMStatus()
    status.imageDigest = image.manifestDigest.description
    status.chainID = image.chainID.description
    status.baseDisk = image.disk
    // What its journal says so far is a spare's.
    status.journalOffset = uid.map { LaunchPlan.size(of: paths.journal($0)) } ?? 0
    var attempts = 0
    while true {
      attempts += 1
      var object = StoredObject(
        kind: VM.kind, namespace: "default", name: request.name ?? ObjectName.random(),
        uid: uid ?? ObjectName.makeUID(),
        created: Date(), labels: request.labels, annotations: request.annotations, spec: try Self.encode(spec),
        status: try Self.encode(status))
      object.owners = request.owners
      do {
        return try Self.vm(of: try await store.create(object))
      } catch let error as StoreError where error.code == .alreadyExists {
        if request.name == nil && attempts < 100 { continue }
        throw EngineError(
          .alreadyExists, "the name \"\(object.name)\" is taken by another VM",
          advice: "choose another, or remove that one: ignite rm \(object.name)")
      }
    }
  }

  func makeFiles(of vm: VM, image: ImportedImage) async throws {
    let uid = vm.metadata.uid
    let data = paths.vmData(uid)
    let plans = paths.plans(uid)
    let imagePath = paths.image(uid)
    let record = try Self.encode(image)
    let disk = paths.writableDisk(uid)
    let size = vm.spec.resources.disk.bytes
    let root = paths.data
    try await ThreadExecutor.run { () throws -> Void in
      let space = HostSpace(below: root)
      do {
        for directory in [data, plans] where mkdir(directory, 0o700) != 0 {
          throw SystemError("make the directory \(directory)")
        }
        CrashPoint.pass(.createDirectories)
        try record.write(to: URL(filePath: imagePath))
        // Last, and under its name once it is whole: a VM that has it can be started.
        try WritableDisk.create(path: disk + ".new", size: size, label: "ignite-overlay")
        guard rename(disk + ".new", disk) == 0 else { throw SystemError("name the disk \(disk)") }
        CrashPoint.pass(.createDisk)
      } catch {
        guard let full = ImageError.wantOfSpace(error) else { throw error }
        throw full.explained("the VM's disk", before: space, needed: 0)
      }
    }
  }
}
