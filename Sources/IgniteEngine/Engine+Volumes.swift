internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteImages
internal import IgniteStore
internal import IgniteSystem

/// A volume with what is known of it beside its object.
public struct VolumeSummary: Codable, Sendable {
  public var volume: Volume
  /// Names of the VMs that have it, whether they run or not.
  public var vms: [String]
  /// Bytes that its file takes on the host; nil where the file is gone.
  public var used: Int64?
  public var path: String
}

extension Engine {
  static let volumeSizes: ClosedRange<UInt64> = (16 << 20)...(16 << 40)

  /// Makes a volume; one of that name that is there, and of that size, serves.
  ///
  /// - Parameters:
  ///   - name: nil makes one up, and the volume anonymous.
  ///   - size: nil is the configuration's.
  public func createVolume(_ name: String?, size: ByteQuantity? = nil, labels: [String: String] = [:]) async throws
    -> Volume
  {
    if let size {
      guard Self.volumeSizes.contains(size.bytes), size.bytes % 4096 == 0 else {
        throw EngineError(
          .invalidArgument, "a volume of \(size) is not possible", advice: "give from 16MiB to 16TiB (--size 10g)")
      }
    }
    let lock = try await volumeLock()
    defer { lock.unlock() }
    return try await makeVolume(name, size: size, labels: labels).volume
  }

  /// The same for one that holds the volumes' lock.
  private func makeVolume(
    _ name: String?, size: ByteQuantity?, labels: [String: String]
  ) async throws -> (volume: Volume, isNew: Bool) {
    if let name {
      try Self.check(volumeName: name)
      if let object = try await store.get(kind: Volume.kind, namespace: "default", name: name) {
        let volume = try Self.volume(of: object)
        guard size == nil || size == volume.spec.size else {
          throw EngineError(
            .alreadyExists, "the volume \"\(name)\" is there, of \(volume.spec.size)",
            advice: "choose another name, or leave its size out")
        }
        return (volume, false)
      }
    }
    var labels = labels
    if name == nil { labels[Volume.anonymousLabel] = "" }
    let spec = VolumeSpec(size: size ?? configuration.volumes.size)
    let uid = ObjectName.makeUID()
    // The file first: without an object it is a leftover, which `gc` takes.
    let path = paths.volume(uid)
    let root = paths.data
    try await ThreadExecutor.run { () throws -> Void in
      let space = HostSpace(below: root)
      do {
        // Programs refuse a data directory that is not empty.
        try WritableDisk.create(
          path: path, size: spec.size.bytes, label: Self.fileSystemLabel(name), lostAndFound: false)
      } catch {
        guard let full = ImageError.wantOfSpace(error) else { throw error }
        throw full.explained("the volume", before: space, needed: 0)
      }
    }
    CrashPoint.pass(.volumeFile)
    let object = StoredObject(
      kind: Volume.kind, namespace: "default", name: name ?? Self.anonymousVolume().name, uid: uid,
      created: Date(), labels: labels, spec: try Self.encode(spec), status: try Self.encode(VolumeStatus()))
    do {
      let volume = try Self.volume(of: try await store.create(object))
      await note(Event("volume", "create", id: volume.metadata.name))
      return (volume, true)
    } catch {
      unlink(path)
      throw error
    }
  }

  /// A file system's label has 16 bytes.
  private static func fileSystemLabel(_ name: String?) -> String {
    guard let name else { return "ignite-volume" }
    return String(decoding: name.utf8.prefix(16), as: UTF8.self)
  }

  /// Docker's rule: a letter or digit, then those, `_`, `.` and `-`.
  static func check(volumeName name: String) throws {
    let isGood =
      name.utf8.count <= 128
      && name.utf8.allSatisfy {
        (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || [45, 46, 95].contains($0)
      } && name.utf8.first.map { ![45, 46, 95].contains($0) } == true
    guard isGood else {
      throw EngineError(
        .invalidArgument, "the name \"\(name)\" cannot be a volume's",
        advice: "letters and digits, then '_', '.' and '-' as well; a path of the host begins with / or ./")
    }
  }

  // MARK: Looking

  public func volume(_ name: String) async throws -> Volume {
    guard let object = try await store.get(kind: Volume.kind, namespace: "default", name: name) else {
      throw EngineError(
        .notFound, "there is no volume \"\(name)\"", advice: "list them with `ignite volume ls`")
    }
    return try Self.volume(of: object)
  }

  /// All of them, by name.
  public func volumes() async throws -> [VolumeSummary] {
    let vms = try await recordedVMs()
    return try await store.list(kind: Volume.kind).map(Self.volume(of:)).map { summary($0, vms: vms) }
      .sorted { $0.volume.metadata.name < $1.volume.metadata.name }
  }

  /// Gives a volume labels, nil taking one away, annotations, and owners where they are given.
  public func annotateVolume(
    _ name: String, labels: [String: String?], annotations: [String: String], owners: [ObjectReference]? = nil
  ) async throws {
    for attempt in 0... {
      let volume = try await volume(name)
      guard var object = try await store.find(kind: Volume.kind, uidPrefix: volume.metadata.uid).first else { return }
      for (key, value) in labels { object.labels[key] = value }
      object.annotations.merge(annotations) { $1 }
      if let owners { object.owners = owners }
      do {
        _ = try await store.update(object)
        return
      } catch let error as StoreError where error.code == .conflict && attempt < 8 {
        continue
      }
    }
  }

  public func volumeSummary(_ name: String) async throws -> VolumeSummary {
    summary(try await volume(name), vms: try await recordedVMs())
  }

  private func summary(_ volume: Volume, vms: [VM]) -> VolumeSummary {
    let path = paths.volume(volume.metadata.uid)
    var info = stat()
    let used = lstat(path, &info) == 0 ? Int64(info.st_blocks) * 512 : nil
    var volume = volume
    // Of a VM that has ended the claim is void.
    volume.status.claims.removeAll { claim in
      !vms.contains { $0.metadata.uid == claim.vm && $0.status.phase.isActive && isHeld($0) }
    }
    return VolumeSummary(
      volume: volume, vms: vms.filter { $0.mounts(volume.metadata.name) }.map(\.metadata.name), used: used, path: path)
  }

  private func isHeld(_ vm: VM) -> Bool { FileLock.isHeld(paths.vmLock(vm.metadata.uid)) }

  static func volume(of object: StoredObject) throws -> Volume {
    let decoder = APICoding.decoder()
    do {
      return Volume(
        metadata: ObjectMeta(object),
        spec: try decoder.decode(VolumeSpec.self, from: object.spec),
        status: try decoder.decode(VolumeStatus.self, from: object.status))
    } catch {
      throw EngineError(
        .unavailable, "the record of the volume \"\(object.name)\" cannot be read",
        advice: "was it written by a newer ignite?", cause: error)
    }
  }

  // MARK: Removing

  /// Removes a volume with all that is on it, unless a VM has it, running or not.
  public func removeVolume(_ name: String) async throws {
    let lock = try await volumeLock()
    defer { lock.unlock() }
    let volume = try await volume(name)
    if let user = try await recordedVMs().first(where: { $0.mounts(name) }) {
      throw EngineError(
        .wrongState, "the volume \"\(name)\" is in use by the VM \"\(user.metadata.name)\"",
        advice: "remove the VM first: ignite rm \(user.metadata.name)")
    }
    try await removeNow(volume)
  }

  private func removeNow(_ volume: Volume) async throws {
    try await store.delete(uid: volume.metadata.uid)
    CrashPoint.pass(.volumeForgotten)
    let path = paths.volume(volume.metadata.uid)
    guard unlink(path) == 0 || errno == ENOENT else { throw SystemError("remove \(path)") }
    await note(Event("volume", "destroy", id: volume.metadata.name))
  }

  /// Removes volumes that no VM has: anonymous ones, or all.
  public func pruneVolumes(_ request: PruneRequest) async throws -> (volumes: [Volume], bytes: Int64) {
    let lock = try await volumeLock()
    defer { lock.unlock() }
    var removed: [Volume] = []
    var bytes: Int64 = 0
    for summary in try await volumes()
    where summary.vms.isEmpty && (request.all || summary.volume.isAnonymous) && request.suits(summary.volume) {
      removed.append(summary.volume)
      bytes += summary.used ?? 0
      if !request.dryRun { try await removeNow(summary.volume) }
    }
    return (removed, bytes)
  }

  /// Makes the volumes that a new VM names and that are not there.
  /// - Returns: the new ones, to be taken back should the VM come to nothing.
  func makeVolumes(of vm: VM) async throws -> [Volume] {
    let named = vm.spec.volumes?.compactMap(\.volume) ?? []
    guard !named.isEmpty else { return [] }
    let lock = try await volumeLock()
    defer { lock.unlock() }
    var made: [Volume] = []
    do {
      for one in named {
        let labels = one.anonymous == true ? [Volume.anonymousLabel: ""] : [:]
        let (volume, isNew) = try await makeVolume(one.name, size: nil, labels: labels)
        if isNew { made.append(volume) }
      }
    } catch {
      for volume in made { try? await removeNow(volume) }
      throw error
    }
    return made
  }

  func removeVolumes(_ volumes: [Volume]) async {
    for volume in volumes { try? await removeVolume(volume.metadata.name) }
  }

  /// The volumes that were made for this VM alone, which `rm -v` and `--rm` take along; one that another VM took up by its
  /// name stays.
  func removeAnonymousVolumes(of vm: VM) async throws {
    let names = vm.spec.volumes?.compactMap { $0.volume?.anonymous == true ? $0.volume?.name : nil } ?? []
    guard !names.isEmpty else { return }
    let lock = try await volumeLock()
    defer { lock.unlock() }
    let others = try await recordedVMs().filter { $0.metadata.uid != vm.metadata.uid }
    for name in names where !others.contains(where: { $0.mounts(name) }) {
      guard let object = try await store.get(kind: Volume.kind, namespace: "default", name: name) else { continue }
      try await removeNow(try Self.volume(of: object))
    }
  }

  static func anonymousVolume(noCopy: Bool? = nil) -> VolumeMount.Named {
    VolumeMount.Named(name: ObjectName.makeUID() + ObjectName.makeUID(), noCopy: noCopy, anonymous: true)
  }

  /// Makers and removers of volumes are alone, and with them what looks for files that no volume accounts for.
  func volumeLock() async throws -> FileLock {
    let path = paths.run + "/volumes.lock"
    for attempt in 0..<600 {
      try Task.checkCancellation()
      if let lock = try FileLock.tryLock(path) { return lock }
      try await Task.sleep(for: .milliseconds(min(5 + 5 * attempt, 100)))
    }
    throw EngineError(.unavailable, "another command makes or removes volumes", advice: "try again")
  }

  /// Files of volumes that there is no object for.
  func strayVolumeFiles(remove: Bool) async throws -> [String] {
    let folder = paths.data + "/volumes"
    let lock = try await volumeLock()
    defer { lock.unlock() }
    let known = Set(try await store.list(kind: Volume.kind).map { "\($0.uid).ext4" })
    let strays = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter {
      $0.hasSuffix(".ext4") && !known.contains($0)
    }.sorted()
    if remove { for name in strays { unlink("\(folder)/\(name)") } }
    return strays.map { "volumes/\($0)" }
  }
}

extension VM {
  func mounts(_ volume: String) -> Bool { spec.volumes?.contains { $0.volume?.name == volume } == true }
}

extension PruneRequest {
  public func suits(_ volume: Volume) -> Bool {
    if let until, volume.metadata.creationTimestamp >= until { return false }
    return suits(labels: volume.metadata.labels ?? [:])
  }

  func suits(labels values: [String: String]) -> Bool {
    labels.allSatisfy { label in
      let parts = label.text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = values[String(parts.first ?? "")]
      return (value != nil && (parts.count < 2 || value.map { $0 == parts[1] } == true)) != label.isExcluded
    }
  }
}
