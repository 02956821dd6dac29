internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

extension VolumeMount {
  /// What is in the VM's memory: files that it is given, too.
  var memory: Temporary? {
    guard configMap != nil || secret != nil else { return tmpfs }
    var memory = Temporary()
    (memory.size, memory.mode) = (.mebibytes(8), "0755")
    return memory
  }

  static func shares(of mounts: [VolumeMount]?) -> [ShareKeeper.Share] {
    (mounts ?? []).compactMap { mount in
      mount.hostPath.map { ShareKeeper.Share(path: $0.path, readOnly: mount.readOnly) }
    }
  }

  /// As the guest is told of them.
  /// - Parameter firstDrive: the number of the first volume among the machine's drives.
  static func planned(_ mounts: [VolumeMount], firstDrive: Int) -> [SpawnPlan.Mount] {
    var drive = firstDrive
    func device() -> String {
      defer { drive += 1 }
      return "vd" + String(UnicodeScalar(UInt8(97 + drive)))
    }
    var share = 0
    return mounts.compactMap { mount in
      if mount.hostPath != nil {
        defer { share += 1 }
        return SpawnPlan.Mount(
          .share, source: "share\(share)", target: mount.mountPath, readOnly: mount.readOnly)
      }
      if let volume = mount.volume {
        return SpawnPlan.Mount(
          .disk, source: device(), target: mount.mountPath, readOnly: mount.readOnly,
          isFilled: volume.noCopy != true && !mount.readOnly)
      }
      if mount.blockDevice != nil {
        return SpawnPlan.Mount(.disk, source: device(), target: mount.mountPath, readOnly: mount.readOnly)
      }
      guard let memory = mount.memory else { return nil }
      var options = memory.options ?? []
      // Docker's, each unless its opposite was asked for.
      var flags: UInt64 = 0
      for (word, opposite, flag) in [
        ("noexec", "exec", MS_NOEXEC), ("nosuid", "suid", MS_NOSUID), ("nodev", "dev", MS_NODEV),
      ] {
        if !options.contains(opposite) { flags |= UInt64(flag) }
        options.removeAll { $0 == opposite || $0 == word }
      }
      options.append("mode=\(memory.mode ?? "1777")")
      if let size = memory.size { options.append("size=\(size.bytes)") }
      return SpawnPlan.Mount(
        .memory, target: mount.mountPath, readOnly: mount.readOnly, flags: flags,
        options: options.joined(separator: ","))
    }
  }
}

/// A disk that a VM has beside its own: a volume, or a block device of the host.
struct VolumeDisk: Codable, Sendable, Equatable {
  var path: String
  var readOnly: Bool
  var isBlockDevice: Bool
  /// Of the device.
  var bytes: UInt64 = 0

  /// Opens it, for the hypervisor to inherit; a device that the host has mounted, or another has claimed, is refused to a
  /// writer. Blocking.
  /// - Parameter isSuccessor: the hypervisor that has claimed it goes on.
  func open(isSuccessor: Bool = false) throws(SystemError) -> FileDescriptor {
    let flags = (readOnly ? O_RDONLY : O_RDWR) | O_NOFOLLOW
    // Of a block device that is not created, O_EXCL is a claim (open(2)).
    let file: FileDescriptor
    do throws(SystemError) {
      file = try FileDescriptor.open(path, isBlockDevice && !readOnly && !isSuccessor ? flags | O_EXCL : flags)
    } catch {
      guard error.code == ENOENT else { throw error }
      throw SystemError(
        "open the disk of a volume, \(path), which is gone: put it back, or remove the VM and the volume", code: ENOENT)
    }
    var info = stat()
    guard fstat(file.number, &info) == 0, info.st_mode & S_IFMT == (isBlockDevice ? S_IFBLK : S_IFREG) else {
      throw SystemError("open \(path): it is not what it was", code: ENODEV)
    }
    return file
  }
}

extension Engine {
  /// What a new VM is to have mounted: what was asked for, and what its image declares; outer places first.
  ///
  /// - Throws: EngineError for what is not there, for a place that is named twice, and for more than the machine takes.
  func mounts(_ asked: [VolumeMount], image: ImageConfig.Process) async throws -> [VolumeMount]? {
    var mounts: [VolumeMount] = []
    for var mount in asked {
      if let named = mount.volume {
        if named.name.isEmpty {
          mount.volume = Self.anonymousVolume(noCopy: named.noCopy)
        } else {
          try Self.check(volumeName: named.name)
        }
      }
      try Self.checkSources(mount)
      try Self.resolve(&mount)
      guard !mounts.contains(where: { $0.mountPath == mount.mountPath }) else {
        throw EngineError(.invalidArgument, "two things are to be mounted at \(mount.mountPath)")
      }
      if let name = mount.volume?.name, mounts.contains(where: { $0.volume?.name == name }) {
        throw EngineError(
          .invalidArgument, "the volume \"\(name)\" is to be mounted twice", advice: "mount it at one place")
      }
      if let path = mount.blockDevice?.path, mounts.contains(where: { $0.blockDevice?.path == path }) {
        throw EngineError(
          .invalidArgument, "the device \(path) is to be mounted twice", advice: "mount it at one place")
      }
      mounts.append(mount)
    }
    for text in image.volumes {
      // What an image declares wrongly is no reason to refuse it.
      guard let path = try? VolumeText.path(text, in: "VOLUME"),
        !mounts.contains(where: { $0.mountPath == path })
      else { continue }
      var mount = VolumeMount(mountPath: path)
      mount.volume = Self.anonymousVolume()
      mounts.append(mount)
    }
    let devices = mounts.count { $0.memory == nil }
    guard devices <= MachineShape.mostVolumes else {
      throw EngineError(
        .invalidArgument,
        "\(devices) volumes are too many: a machine takes \(MachineShape.mostVolumes) beside its own disks",
        advice: image.volumes.isEmpty ? "mount fewer" : "mount fewer; the image itself declares \(image.volumes.count)")
    }
    guard !mounts.isEmpty else { return nil }
    func depth(_ mount: VolumeMount) -> Int { mount.mountPath.utf8.count { $0 == 47 } }
    return mounts.sorted { (depth($0), $0.mountPath) < (depth($1), $1.mountPath) }
  }

  /// Says once for a data directory what a directory of the host costs.
  func announceShares(_ notify: Notify) {
    let marker = paths.data + "/shares-announced"
    let number = Glibc.open(marker, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard number >= 0 else { return }
    close(number)
    notify(
      "a VM with a directory of the host starts cold, and cannot be snapshotted; a volume has neither cost. "
        + "This is said once")
  }

  private static func checkSources(_ mount: VolumeMount) throws {
    let sources = [
      mount.volume != nil, mount.hostPath != nil, mount.blockDevice != nil, mount.tmpfs != nil, mount.configMap != nil,
      mount.secret != nil,
    ].count { $0 }
    guard sources == 1 else {
      throw EngineError(
        .invalidArgument, "\(sources == 0 ? "nothing is" : "several things are") to be mounted at \(mount.mountPath)",
        advice: "give one of volume, hostPath, blockDevice, tmpfs, configMap and secret")
    }
    guard !mount.readOnly || (mount.configMap == nil && mount.secret == nil) else {
      throw EngineError(
        .invalidArgument, "what a VM is given at \(mount.mountPath) is a copy of its own",
        advice: "leave readOnly out: nothing that is written there reaches the object")
    }
  }

  /// A path of the host is a directory's, or a block device's.
  private static func resolve(_ mount: inout VolumeMount) throws {
    guard let path = mount.hostPath?.path ?? mount.blockDevice?.path else { return }
    guard let real = realPath(path), let kind = fileKind(real) else {
      throw EngineError(
        .notFound, "\(path) is not there: \(SystemError.text(of: errno))",
        advice: "make the directory first, or name a volume without a slash")
    }
    if kind == S_IFBLK {
      mount.hostPath = nil
      mount.blockDevice = VolumeMount.Path(path: real)
      guard access(real, mount.readOnly ? R_OK : R_OK | W_OK) == 0 else {
        throw SystemError("open the block device \(real)")
      }
      return
    }
    guard mount.blockDevice == nil else {
      throw EngineError(.invalidArgument, "\(path) is no block device", advice: "name one, as /dev/sdb1")
    }
    guard kind != S_IFDIR || access(ShareKeeper.program, X_OK) == 0 else {
      throw EngineError(
        .unavailable, "directories of the host need virtiofsd, and there is no \(ShareKeeper.program)",
        advice: "install qemu-system-common of QEMU 7.2, or use a volume")
    }
    if kind == S_IFDIR { _ = try SharePlace.wrapper() }
    guard kind == S_IFDIR else {
      throw EngineError(
        .invalidArgument, "\(path) is no directory and no block device",
        advice: "mount the directory that it is in, or copy it: ignite cp")
    }
    mount.hostPath?.path = real
  }

  private static func fileKind(_ path: String) -> mode_t? {
    var info = stat()
    return stat(path, &info) == 0 ? info.st_mode & S_IFMT : nil
  }

  /// Makes the VM the user of its volumes, for as long as it runs: one that writes is alone.
  ///
  /// - Throws: `wrongState` that names the VM that has a volume, `notFound` for one that is gone.
  func claimVolumes(of vm: VM) async throws {
    for mount in vm.spec.volumes ?? [] {
      guard let name = mount.volume?.name else { continue }
      try await claim(name, for: vm, readOnly: mount.readOnly)
    }
  }

  private func claim(_ name: String, for vm: VM, readOnly: Bool) async throws {
    for _ in 0..<32 {
      guard var object = try await store.get(kind: Volume.kind, namespace: "default", name: name) else {
        throw EngineError(
          .notFound, "the volume \"\(name)\" of VM \"\(vm.metadata.name)\" is gone",
          advice: "make it anew: ignite volume create \(name)")
      }
      var volume = try Self.volume(of: object)
      var claims: [VolumeStatus.Claim] = []
      for claim in volume.status.claims where claim.vm != vm.metadata.uid {
        guard let other = try await user(claim) else { continue }
        guard readOnly && claim.readOnly else {
          throw EngineError(
            .wrongState,
            "the volume \"\(name)\" is in use by the VM \"\(other.metadata.name)\"\(claim.readOnly ? "" : ", which may write to it")",
            advice: "stop that one first: ignite stop \(other.metadata.name)")
        }
        claims.append(claim)
      }
      claims.append(VolumeStatus.Claim(vm: vm.metadata.uid, readOnly: readOnly))
      guard claims != volume.status.claims else { return }
      volume.status.claims = claims
      object.status = try Self.encode(volume.status)
      do {
        _ = try await store.update(object)
        return
      } catch let error as StoreError where [.conflict, .notFound].contains(error.code) {
        continue
      }
    }
    throw EngineError(.unavailable, "the volume \"\(name)\" is being changed by other commands", advice: "try again")
  }

  /// The VM behind a claim, if it runs. One that is about to end is waited for.
  private func user(_ claim: VolumeStatus.Claim) async throws -> VM? {
    for _ in 0..<100 {
      guard let object = try await store.find(kind: VM.kind, uidPrefix: claim.vm).first else { return nil }
      let vm = try Self.vm(of: object)
      let held = FileLock.isHeld(paths.vmLock(claim.vm))
      if vm.status.phase.isActive {
        if held { return vm }
        // Ended, or without its supervisor: the look at it decides.
        let now = try await refreshed(vm, object: object)
        return now.status.phase.isActive ? now : nil
      }
      if !held { return nil }
      try await Task.sleep(for: .milliseconds(50))
    }
    return try? await vm(claim.vm)
  }

  /// The disks of a VM's volumes, in the order of their mounts, with their sizes.
  func volumeDisks(of vm: VM) async throws -> [VolumeDisk] {
    var disks: [VolumeDisk] = []
    for mount in vm.spec.volumes ?? [] {
      if let name = mount.volume?.name {
        let path = paths.volume(try await volume(name).metadata.uid)
        disks.append(VolumeDisk(path: path, readOnly: mount.readOnly, isBlockDevice: false))
      } else if let path = mount.blockDevice?.path {
        disks.append(VolumeDisk(path: path, readOnly: mount.readOnly, isBlockDevice: true))
      }
    }
    let unmeasured = disks
    return try await ThreadExecutor.run { () throws -> [VolumeDisk] in
      try unmeasured.map { disk in
        var disk = disk
        do throws(SystemError) {
          let file = try disk.open()
          disk.bytes = UInt64(max(0, lseek(file.number, 0, SEEK_END)))
        } catch {
          if error.code == EBUSY {
            throw EngineError(
              .wrongState, "the device \(disk.path) is in use: the host has it mounted, or another VM has it",
              advice: "unmount it first", cause: error)
          }
          throw error
        }
        guard disk.bytes >= 512 else {
          throw EngineError(.unavailable, "\(disk.path) is empty", advice: "is a medium in the device?")
        }
        return disk
      }
    }
  }
}
