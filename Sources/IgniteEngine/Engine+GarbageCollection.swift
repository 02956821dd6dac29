internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteStore
internal import IgniteSystem

/// Something that no object accounts for.
public struct Leftover: Codable, Sendable, Equatable {
  public enum Kind: String, Codable, Sendable {
    /// What a VM had whose object is gone: directories, processes, lock, cgroup, user.
    case vm = "VM"
    /// A hypervisor that was started ahead, and has ended or is broken.
    case spare = "Spare"
    /// A number that was given to what is not there any more.
    case allocation = "Allocation"
    /// What an import of an image or a kernel, or the making of a template, left when it died.
    case files = "Files"
  }

  public var kind: Kind
  /// A UID, an owner, or a path.
  public var name: String
  public var detail: String
}

extension Engine {
  /// Names what no object accounts for and, but for a dry run, takes it back.
  ///
  /// VMs whose supervisor was lost, and removals that were cut short, are mended by the look at them alone.
  public func collectGarbage(dryRun: Bool) async throws -> [Leftover] {
    // Directories and numbers are listed before objects: those of a VM that is being made come after its object.
    let found = try await ThreadExecutor.run { [paths] () throws -> [String: [String]] in
      try Self.directories(paths)
    }
    let owners = try await store.owners(pool: "users")
    _ = try await vms()
    let (known, spares) = try await accounted()
    var leftovers: [Leftover] = []
    for spare in try await self.spares() where try await isDead(spare) {
      leftovers.append(Leftover(kind: .spare, name: spare.uid, detail: "a hypervisor started ahead has ended"))
    }
    let live = known.union(spares)
    let shorts = Set(live.map { String($0.prefix(12)) })
    for (name, places) in found.sorted(by: { $0.key < $1.key })
    where !live.contains(name) && !shorts.contains(name) {
      // A removal that was cut short has just been finished.
      let places = places.filter { access($0, F_OK) == 0 }
      if places.isEmpty { continue }
      leftovers.append(Leftover(kind: .vm, name: name, detail: places.joined(separator: ", ")))
      if !dryRun { try await takeBack(orphan: name) }
    }
    let still = Set(try await store.owners(pool: "users"))
    for owner in owners
    where still.contains(owner) && !live.contains(owner) && !isMakingTemplate(owner) {
      leftovers.append(Leftover(kind: .allocation, name: owner, detail: "a user id"))
      if !dryRun { try await store.release(pool: "users", owner: owner) }
    }
    if !dryRun { try await sweepSpares() }
    return leftovers + (try await abandonedSources(dryRun: dryRun)) + (try await abandonedFiles(dryRun: dryRun))
  }

  /// What was fetched from sources that are gone.
  private func abandonedSources(dryRun: Bool) async throws -> [Leftover] {
    let folder = "\(paths.data)/sources"
    let names = try await ThreadExecutor.run { () throws -> [String] in
      (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }
    var known: Set<String> = []
    for kind in GitOps.sources { known.formUnion(try await store.list(kind: kind).map(\.uid)) }
    var leftovers: [Leftover] = []
    for name in names.sorted()
    where name.utf8.count == 16 && name.utf8.allSatisfy(\.isHexadecimalDigit) && !known.contains(name) {
      leftovers.append(Leftover(kind: .files, name: "sources/\(name)", detail: "of a source that is gone"))
      if !dryRun { try await removeSourceFiles(name) }
    }
    return leftovers
  }

  /// Removes what was fetched from a source.
  public func removeSourceFiles(_ uid: String) async throws {
    let folder = paths.sourceArtifacts(uid)
    try await ThreadExecutor.run { () throws -> Void in try FileTree.remove(folder) }
  }

  // MARK: VMs without an object

  private func accounted() async throws -> (vms: Set<String>, spares: Set<String>) {
    (Set(try await recordedVMs().map(\.metadata.uid)), Set(try await spares().map(\.uid)))
  }

  /// UIDs, or their first twelve digits, by what there is of them.
  private static func directories(_ paths: Paths) throws -> [String: [String]] {
    var found: [String: [String]] = [:]
    for folder in ["\(paths.data)/vms", "\(paths.data)/plans", "\(paths.run)/vms"] {
      for entry in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
        let suffix = [".lock", ".shares"].first { entry.hasSuffix($0) } ?? ""
        let name = String(entry.dropLast(suffix.count))
        // Those of templates that are being made begin with a t; other names are not ours.
        guard [12, 16].contains(name.utf8.count), name.utf8.allSatisfy({ $0.isHexadecimalDigit }) else { continue }
        found[name, default: []].append("\(folder)/\(entry)")
      }
    }
    return found
  }

  private func takeBack(orphan uid: String) async throws {
    // A supervisor of no VM: whoever holds the lock is ended, and it alone.
    if FileLock.isHeld(paths.vmLock(uid)) {
      for holder in FileLock.holders(paths.vmLock(uid)) { try ProcessHandle.open(holder)?.kill() }
    }
    let lock = try await lock(uid)
    defer { lock.unlock() }
    try await removeRemains(of: uid, user: getuid() == 0 ? owner(of: paths.vmData(uid)) : nil)
  }

  /// Ends and removes what there is of a VM without an object. The caller holds its lock.
  func removeRemains(of uid: String, user: UInt32?) async throws {
    var remains = VM(metadata: ObjectMeta(name: uid), spec: VMSpec(image: VMSpec.Image(oci: "")))
    remains.metadata.uid = uid
    remains.status.userID = user
    try await endRemains(of: remains)
    let folders = [paths.vmData(uid), paths.plans(uid), paths.vmRun(uid), paths.vmShares(uid)]
    try await ThreadExecutor.run { () throws -> Void in for folder in folders { try FileTree.remove(folder) } }
    try await store.release(pool: "users", owner: uid)
    unlink(paths.vmLock(uid))
  }

  private func owner(of path: String) -> UInt32? {
    var info = stat()
    return lstat(path, &info) == 0 ? info.st_uid : nil
  }

  private func isMakingTemplate(_ owner: String) -> Bool {
    guard owner.hasPrefix("template-"), let key = TemplateKey(String(owner.dropFirst(9))) else { return false }
    return templates.isTried(key)
  }

  private func isDead(_ spare: RecordedSpare) async throws -> Bool {
    if FileLock.isHeld(paths.vmLock(spare.uid)) { return false }
    return try await store.find(kind: VM.kind, uidPrefix: spare.uid).isEmpty
  }

  // MARK: Files

  /// Locks of objects whose holder died: empty files, which are taken away without a word.
  private static func removeObjectLocks(_ paths: Paths) {
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: "\(paths.run)/vms")) ?? []
    where entry.utf8.first.map({ (65...90).contains($0) }) == true {
      (try? PassingLock.take("\(paths.run)/vms/\(entry)"))?.release()
    }
  }

  private func abandonedFiles(dryRun: Bool) async throws -> [Leftover] {
    var request = PruneRequest()
    request.dryRun = dryRun
    let images = try await pruneImages(request).cleanup.items.filter { $0.kind == .leftover }.map(\.name)
    let kernels = KernelStore(root: paths.data)
    let store = templates
    let others = await ThreadExecutor.run { () -> [String] in
      let abandoned = kernels.abandoned().map(\.path)
      if !dryRun {
        kernels.removeAbandoned()
        store.removeAbandoned()
      }
      return abandoned
    }
    let volumes = try await strayVolumeFiles(remove: !dryRun)
    if !dryRun { await ThreadExecutor.run { [paths] in Self.removeObjectLocks(paths) } }
    return (images + others + volumes).map { Leftover(kind: .files, name: $0, detail: "left by what died") }
  }
}

extension UInt8 {
  fileprivate var isHexadecimalDigit: Bool { (48...57).contains(self) || (97...102).contains(self) }
}
