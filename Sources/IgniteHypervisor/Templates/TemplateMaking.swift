internal import FoundationEssentials
internal import Glibc
public import IgniteSystem
internal import Synchronization

extension TemplateStore {
  /// The right to make a template; nil where another process makes it, or where it is there.
  /// - Throws: `system` where the directory cannot be made or written to.
  public func beginMaking(_ identity: TemplateIdentity) throws(HypervisorError) -> TemplateMaking? {
    let key = identity.key
    do throws(SystemError) {
      if mkdir(directory, 0o700) != 0, errno != EEXIST { throw SystemError("make the directory \(directory)") }
      guard let lock = try PassingLock.take(lockPath(key)) else { return nil }
      if access(path(key), F_OK) == 0 {
        if (try? TemplateRecord.read(path(key), key: key)) != nil || (try? drop(key)) == nil {
          lock.release()
          return nil
        }
      }
      removeAbandoned()
      let workspace = "\(directory)/.new-\(key.hex)"
      try FileTree.remove(workspace)
      guard mkdir(workspace, 0o700) == 0 else { throw SystemError("make the directory \(workspace)") }
      let memory = try MemoryFile.make("ignite-template")
      try retrying("make a template's memory") { Int(ftruncate(memory.number, off_t(clamping: identity.memoryBytes))) }
      return TemplateMaking(store: self, identity: identity, memory: memory, workspace: workspace, lock: lock)
    } catch {
      throw HypervisorError(error)
    }
  }

  /// Whether another process makes that template, or has failed to within the last ten minutes.
  public func isTried(_ key: TemplateKey) -> Bool {
    var info = stat()
    if stat(failurePath(key), &info) == 0, time(nil) - info.st_mtim.tv_sec < 600 { return true }
    return FileLock.isHeld(lockPath(key))
  }

  /// Whether a name below `templates` is that of a lock, a note, or of one that is being made or removed.
  public static func isOwn(_ name: String) -> Bool {
    name.hasPrefix(".new-") || name.hasPrefix(".remove-")
      || [".lock", ".failed"].contains { name.hasSuffix($0) && TemplateKey(String(name.dropLast($0.count))) != nil }
  }

  func failurePath(_ key: TemplateKey) -> String { "\(directory)/\(key.hex).failed" }

  /// Why the making failed last, for a reader; it is not tried again in the background for ten minutes.
  public func noteFailure(_ key: TemplateKey, _ reason: String) {
    unlink(failurePath(key))
    try? SmallFile.write(Array((reason + "\n").utf8.prefix(4096)), to: failurePath(key))
  }

  /// Removes what makers and removers left behind that have died.
  public func removeAbandoned() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
      if name.hasPrefix(".remove-") { try? FileTree.remove("\(directory)/\(name)") }
      if name.hasPrefix(".new-"), let key = TemplateKey(String(name.dropFirst(5))),
        let lock = try? PassingLock.take(lockPath(key))
      {
        try? FileTree.remove("\(directory)/\(name)")
        lock.release()
      }
      if name.hasSuffix(".lock"), TemplateKey(String(name.dropLast(5))) != nil {
        (try? PassingLock.take("\(directory)/\(name)"))?.release()
      }
      if name.hasSuffix(".failed"), let key = TemplateKey(String(name.dropLast(7))), !isTried(key) {
        unlink("\(directory)/\(name)")
      }
    }
  }
}

/// A template on its way: a workspace that nobody sees, under a lock; gone with its owner unless it is committed.
public final class TemplateMaking: Sendable {
  /// For the machine's memory, of its size; a file in memory.
  public let memory: FileDescriptor
  private let store: TemplateStore
  private let identity: TemplateIdentity
  private let workspace: String
  /// nil once it is over.
  private let lock: Mutex<PassingLock?>

  init(
    store: TemplateStore, identity: TemplateIdentity, memory: FileDescriptor, workspace: String, lock: PassingLock
  ) {
    self.store = store
    self.identity = identity
    self.memory = memory
    self.workspace = workspace
    self.lock = Mutex(lock)
  }

  deinit { abandon() }

  /// Makes it a template, once its machine has ended; those that were not used for longest make room for it.
  /// - Throws: `system` where the disk is full; `limitExceeded` for one that is larger than all may be. Nothing is left of
  ///   it then.
  public func commit(state: [UInt8]) throws(HypervisorError) -> TemplateRecord {
    do throws(HypervisorError) {
      let record = try save(state)
      try checkLimit()
      try put()
      unlink(store.failurePath(identity.key))
      return record
    } catch {
      abandon()
      var failure = error
      let code = (error.cause as? SystemError)?.code
      if code == ENOSPC || code == EDQUOT {
        failure.advice = "free some of the disk, or turn templates off (templates.enabled: false)"
      }
      throw failure
    }
  }

  /// Writes all its files, to stable storage.
  private func save(_ state: [UInt8]) throws(HypervisorError) -> TemplateRecord {
    let record: TemplateRecord
    do throws(SystemError) {
      let file = try FileDescriptor.open(workspace + "/ram", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
      let digest = try TemplateMemory.copy(memory, to: file)
      try retrying("write a template's memory") { Int(fsync(file.number)) }
      try SmallFile.write(state, to: workspace + "/state")
      try SmallFile.write([], to: workspace + "/used")
      record = TemplateRecord(
        identity: identity, created: Date(timeIntervalSince1970: Double(time(nil))), memoryDigest: digest,
        stateDigest: TemplateDigest.of(state), stateBytes: state.count)
    } catch {
      throw HypervisorError(error)
    }
    try record.write(to: workspace)
    return record
  }

  private func put() throws(HypervisorError) {
    do throws(SystemError) {
      try Self.sync(workspace)
      if rename(workspace, store.path(identity.key)) != 0 { throw SystemError("keep the template") }
      try Self.sync(store.directory)
    } catch {
      throw HypervisorError(error)
    }
    makeRoom()
    over()
  }

  private static func sync(_ path: String) throws(SystemError) {
    let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
    try retrying("write \(path)") { Int(fsync(directory.number)) }
  }

  private func checkLimit() throws(HypervisorError) {
    var bytes: Int64 = 0
    try? FileTree.walk(workspace) { bytes += $0.bytes }
    guard UInt64(max(0, bytes)) <= store.maximumBytes else {
      throw HypervisorError(
        .limitExceeded, "it has \(bytes >> 20) MiB, and all may have \(store.maximumBytes >> 20) MiB",
        advice: "raise templates.maxBytes")
    }
  }

  /// After it is in its place, so that of two that are made at once the later one sees the other.
  private func makeRoom() {
    guard let (templates, damaged) = try? store.list() else { return }
    for key in damaged { _ = try? store.drop(key) }
    var total = templates.reduce(0) { $0 + $1.bytes }
    for oldest in templates where oldest.record.key != identity.key && total > store.maximumBytes {
      guard (try? store.drop(oldest.record.key)) != nil else { continue }
      total -= min(total, oldest.bytes)
    }
  }

  /// Takes back what there is of it; nothing once it is a template.
  public func abandon() { over { try? FileTree.remove(workspace) } }

  private func over(_ last: () -> Void = {}) {
    let lock = lock.withLock { lock in
      defer { lock = nil }
      return lock
    }
    guard let lock else { return }
    last()
    lock.release()
  }
}
