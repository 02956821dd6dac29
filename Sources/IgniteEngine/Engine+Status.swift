internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteStore
internal import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// The VM with its journal folded in; a supervisor that was lost is noticed here, and what it left is ended.
  func refreshed(_ vm: VM, object: StoredObject) async throws -> VM {
    guard hasNews(vm) || vm.status.phase.isActive else { return vm }
    var current = vm
    // Another command may fold the same lines; the one that comes second reads again.
    for _ in 0..<8 {
      guard let changed = try await folded(current) else { return current }
      do {
        return try await write(changed)
      } catch let error as StoreError where error.code == .conflict {
        guard let object = try await store.get(kind: VM.kind, namespace: object.namespace, name: object.name) else {
          break
        }
        current = try Self.vm(of: object)
      } catch let error as StoreError where error.code == .notFound {
        break
      } catch let error as StoreError where error.code == .readOnly {
        // It is so all the same; who can write it down does it.
        return changed
      }
    }
    return current
  }

  private func hasNews(_ vm: VM) -> Bool { hasNews(vm.metadata.uid, offset: vm.status.journalOffset) }

  /// Whether the VM's journal has more than was read of it.
  func hasNews(_ uid: String, offset: UInt64) -> Bool {
    var status = stat()
    guard lstat(paths.journal(uid), &status) == 0 else { return false }
    return UInt64(max(0, status.st_size)) != offset
  }

  /// The VM with what its journal says; nil where nothing is new.
  private func folded(_ vm: VM) async throws -> VM? {
    var vm = vm
    // The lock is tried before the journal is read: a supervisor that ends in between has written by then.
    let lock = vm.status.phase.isActive ? try FileLock.tryLock(paths.vmLock(vm.metadata.uid)) : nil
    defer { lock?.unlock() }
    if lock != nil, try await store.find(kind: VM.kind, uidPrefix: vm.metadata.uid).isEmpty {
      // It was removed meanwhile, and the lock's file with it.
      unlink(paths.vmLock(vm.metadata.uid))
      return nil
    }
    var changed = try fold(&vm)
    // Where nothing can be written no successor has a plan, and the machine is better left as it is.
    if let lock, vm.status.phase.isActive, !isReadOnly(paths.plans(vm.metadata.uid)) {
      guard let reason = await replaceSupervisor(of: vm, lock: lock) else {
        _ = try fold(&vm)
        return vm
      }
      try await endRemains(of: vm)
      // What the successor said of its own failure, if it came so far.
      _ = try fold(&vm)
      vm.status.phase = .failed
      vm.status.message = "supervisor lost: \(reason)"
      vm.status.exitCode = 125
      vm.status.finishedAt = Date()
      changed = true
    }
    return changed ? vm : nil
  }

  private func isReadOnly(_ path: String) -> Bool { access(path, W_OK) != 0 && errno == EROFS }

  private func fold(_ vm: inout VM) throws -> Bool {
    guard hasNews(vm) else { return false }
    // It was shortened.
    var info = stat()
    if lstat(paths.journal(vm.metadata.uid), &info) == 0, UInt64(max(0, info.st_size)) < vm.status.journalOffset {
      vm.status.journalOffset = 0
    }
    let (entries, offset) = try Journal.read(path: paths.journal(vm.metadata.uid), from: vm.status.journalOffset)
    for entry in entries { vm.status.apply(entry) }
    vm.status.journalOffset = offset
    return true
  }

  /// Ends the processes of a supervisor that is gone, and removes its sockets. The caller holds the VM's lock.
  func endRemains(of vm: VM) async throws {
    let uid = vm.metadata.uid
    if access(paths.journal(uid), F_OK) == 0 {
      let entries = try Journal.read(path: paths.journal(uid), from: 0).entries
      // Of the last start; any number of pauses may have followed it.
      let start = entries.lastIndex { $0.event == .starting } ?? entries.startIndex
      for identity in entries[start...].flatMap({ [$0.supervisor, $0.hypervisor, $0.network] }).compactMap(\.self)
      where isOwn(identity, of: vm) { try await end(identity) }
      // A supervisor that died before it had written of its hypervisor: as root both are in the VM's cgroup.
      if vm.status.userID == nil, getuid() != 0, !entries[start...].contains(where: { $0.event == .booted }) {
        let disk = paths.writableDisk(uid)
        for program in ["qemu-system-x86_64", "ignite-spawn"] {
          for identity in ProcessHandle.find(program: program, argument: disk) { try await end(identity) }
        }
      }
    }
    if access(paths.vmShares(uid), F_OK) == 0 {
      // The daemons are in its process group, which is a session's.
      for identity in ProcessHandle.find(program: "ignite-spawn", argument: paths.vmShares(uid)) {
        Glibc.kill(-identity.pid, SIGKILL)
      }
    }
    try await removeCgroup(of: uid)
    for name in ["spawn.sock", "agent.sock", "qmp.sock", "console.sock"] { unlink("\(paths.vmRun(uid))/\(name)") }
  }

  /// Ends what is in the VM's cgroup and removes it. A process gives up the VM's lock a moment before its place in the
  /// cgroup, so an occupied one is tried again.
  private func removeCgroup(of uid: String) async throws {
    let noted = getuid() == 0 ? nil : (try? SupervisorLaunch.read(plans: paths.plans(uid)))?.cgroup
    guard let cgroup = Cgroup.find(uid) ?? noted.map(Cgroup.init(path:)), access(cgroup.path, F_OK) == 0 else { return }
    try? cgroup.kill()
    for _ in 0..<1000 {
      do throws(SystemError) {
        return try cgroup.remove()
      } catch {
        guard error.code == EBUSY else { throw error }
        try await Task.sleep(for: .milliseconds(2))
      }
    }
  }

  /// The journal is written by the VM's user, who must not choose what root ends.
  func isOwn(_ identity: ProcessIdentity, of vm: VM) -> Bool {
    var status = stat()
    guard stat("/proc/\(identity.pid)", &status) == 0 else { return false }
    return status.st_uid == vm.status.userID ?? getuid()
  }

  private func end(_ identity: ProcessIdentity) async throws {
    guard let process = try ProcessHandle.open(identity) else { return }
    try process.kill(SIGKILL)
    let loop = try EventLoop(name: "ignite-end")
    await process.ended(on: loop)
    loop.stop()
  }
}

extension Engine {
  /// The VM with what is kept beside its object: the last health checks.
  public func inspected(_ vm: VM) async -> VM {
    let path = paths.vmData(vm.metadata.uid) + "/health.json"
    var vm = vm
    vm.status.healthCheck = await ThreadExecutor.run { HealthReport.read(path) }.map { report in
      VMStatus.HealthCheck(
        failingStreak: report.failingStreak,
        log: report.log.map { .init(start: $0.start, end: $0.end, exitCode: $0.exitCode, output: $0.output) })
    }
    return vm
  }
}

extension VMStatus {
  /// What a journal's line means for the status.
  mutating func apply(_ entry: JournalEntry) {
    switch entry.event {
    case .starting:
      phase = .starting
      restarts = entry.restarts ?? restarts
      supervisorPID = entry.supervisor?.pid
      health = nil
      exitCode = nil
      message = nil
      finishedAt = nil
    case .booted:
      hypervisorPID = entry.hypervisor?.pid
      template = entry.template
    case .health: health = entry.health
    case .adopted: supervisorPID = entry.supervisor?.pid
    case .running:
      phase = .running
      health = entry.health
      startedAt = entry.time
    case .paused: phase = .paused
    case .resumed: phase = .running
    case .exited:
      phase = .stopped
      exitCode = entry.exitCode
      health = nil
      finishedAt = entry.time
      supervisorPID = nil
      hypervisorPID = nil
    case .restarting:
      phase = .restarting
      restarts = entry.restarts ?? restarts
      exitCode = entry.exitCode
      health = nil
      message = entry.message
      finishedAt = entry.time
      hypervisorPID = nil
    case .failed:
      phase = .failed
      exitCode = entry.exitCode
      health = nil
      message = entry.message
      finishedAt = entry.time
      supervisorPID = nil
      hypervisorPID = nil
    }
  }
}
