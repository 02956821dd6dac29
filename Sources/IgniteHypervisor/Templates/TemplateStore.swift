internal import FoundationEssentials
internal import Glibc
public import IgniteSystem

/// A template that may be thawed.
public struct OpenedTemplate: Sendable {
  public var key: TemplateKey
  /// The machine's memory, sealed, as its keeper passed it on.
  public var memory: FileDescriptor
  public var state: FileDescriptor
  /// The connection to the keeper, who holds the memory for as long as somebody has one.
  public var lease: FileDescriptor
}

/// The templates below `<data>/templates`, each in a directory named by its key. All calls block.
public struct TemplateStore: Sendable {
  /// `<data>/templates`.
  let directory: String
  /// `<run>/templates`: the keepers' sockets and locks.
  let runDirectory: String
  /// What templates may take on the host's disk, in bytes.
  let maximumBytes: UInt64
  /// Seconds after which a keeper that nobody needs ends.
  let keepIdle: Int64

  public init(data: String, run: String, maximumBytes: UInt64, keepIdle: Int64) {
    directory = data + "/templates"
    runDirectory = run + "/templates"
    self.maximumBytes = maximumBytes
    self.keepIdle = keepIdle
  }

  func path(_ key: TemplateKey) -> String { "\(directory)/\(key.hex)" }
  func lockPath(_ key: TemplateKey) -> String { "\(directory)/\(key.hex).lock" }
  func runPath(_ key: TemplateKey, _ suffix: String) -> String { "\(runDirectory)/\(key.short).\(suffix)" }

  /// The template of that identity; nil where there is none.
  ///
  /// One that is torn or damaged is taken away, and nil. The devices' state is checked each time, the memory when its
  /// keeper reads it.
  /// - Parameters:
  ///   - keeper: this program's path, for the keeper to be started from.
  ///   - dropped: told why a template was taken away.
  public func open(
    _ identity: TemplateIdentity, keeper: String, dropped: (String) -> Void
  ) throws(HypervisorError) -> OpenedTemplate? {
    let key = identity.key
    guard let directory = try open(key, dropped) else { return nil }
    do throws(HypervisorError) {
      let record = try directory.record()
      let state = try directory.state(record)
      let held = try TemplateKeeper.memory(of: record, store: self, program: keeper)
      directory.markUsed()
      return OpenedTemplate(key: key, memory: held.memory, state: state, lease: held.lease)
    } catch {
      // Removed meanwhile: there is none.
      guard directory.isThere else { return nil }
      // All but damage says nothing of the template.
      guard error.code == .damaged else { throw error }
      try drop(key)
      dropped(error.message)
      return nil
    }
  }

  private func open(
    _ key: TemplateKey, _ dropped: (String) -> Void
  ) throws(HypervisorError) -> TemplateDirectory? {
    do throws(HypervisorError) {
      return try TemplateDirectory.open(path(key), key: key)
    } catch {
      guard error.code == .damaged else { throw error }
      try drop(key)
      dropped(error.message)
      return nil
    }
  }

  func makeRunDirectory() { mkdir(runDirectory, 0o700) }

  // MARK: Lists

  /// All templates, the least recently used first, and the keys of those that cannot be read.
  public func list() throws(HypervisorError) -> (templates: [ListedTemplate], damaged: [TemplateKey]) {
    var found: [ListedTemplate] = []
    var damaged: [TemplateKey] = []
    for key in keys() {
      do throws(HypervisorError) {
        let record = try TemplateRecord.read(path(key), key: key)
        let keeper = TemplateKeeper.running(key, store: self)
        found.append(
          ListedTemplate(
            record: record, lastUsed: Self.changed(path(key) + "/used") ?? record.created, bytes: usage(key),
            keeper: keeper?.pid, clones: keeper?.leases ?? 0))
      } catch {
        if access(path(key), F_OK) == 0 { damaged.append(key) }
      }
    }
    return (found.sorted { $0.lastUsed < $1.lastUsed }, damaged)
  }

  func keys() -> [TemplateKey] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).compactMap { TemplateKey($0) }
  }

  /// What a template takes on the host's disk, in bytes.
  public func usage(_ key: TemplateKey) -> UInt64 {
    var bytes: Int64 = 0
    // What vanishes meanwhile takes nothing.
    try? FileTree.walk(path(key)) { bytes += $0.bytes }
    return UInt64(max(0, bytes))
  }

  private static func changed(_ path: String) -> Date? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return Date(timeIntervalSince1970: Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) / 1e9)
  }

  // MARK: Removal

  /// Takes a template away; machines that were thawed from it go on.
  /// - Returns: whether there was one.
  @discardableResult
  public func drop(_ key: TemplateKey) throws(HypervisorError) -> Bool {
    do throws(SystemError) {
      // Renamed first: a half-removed one must never be seen.
      let doomed = "\(directory)/.remove-\(key.hex)-\(getpid())-\(UInt32.random(in: 0 ... .max))"
      if rename(path(key), doomed) != 0 {
        if errno == ENOENT { return false }
        throw SystemError("remove the template \(key.short)")
      }
      // What is left of it, or is being removed by another process at the same time, goes with the next clean-up.
      try? FileTree.remove(doomed)
      return true
    } catch {
      throw HypervisorError(error)
    }
  }
}
