public import FoundationEssentials
internal import Glibc
internal import IgniteStore
internal import IgniteSystem

extension Engine {
  /// Keeps a database that is damaged, or what belongs to one that is gone, aside, so that a new one can be begun. Nothing is
  /// deleted: disks of VMs and volumes are in the folder, too.
  ///
  /// - Returns: the folder; nil where the database is whole.
  /// - Throws: EngineError while VMs run that nothing would know of any more.
  public static func setDamagedStateAside(_ paths: Paths, now: Date = Date()) async throws -> String? {
    do {
      try paths.prepare()
      let store = try await ObjectStore.open(root: paths.data)
      try await store.check()
      try await store.close()
      return nil
    } catch let error as StoreError where error.code == .damaged {
      return try await ThreadExecutor.run { () throws -> String in
        let locks = ((try? FileManager.default.contentsOfDirectory(atPath: "\(paths.run)/vms")) ?? []).filter {
          $0.hasSuffix(".lock") && FileLock.isHeld("\(paths.run)/vms/\($0)")
        }
        guard locks.isEmpty else {
          let pids = locks.flatMap { FileLock.holders("\(paths.run)/vms/\($0)").map(\.pid) }.sorted()
          throw EngineError(
            .wrongState,
            "\(error.message); and VMs run still, whose supervisors are \(pids.map(String.init).joined(separator: ", "))",
            advice: "end them (kill), then run it again", cause: error)
        }
        var seconds = time_t(now.timeIntervalSince1970)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 32)
        strftime(&text, text.count, "%Y%m%dT%H%M%SZ", &parts)
        let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = "\(paths.data)/set-aside-\(name)"
        guard mkdir(folder, 0o700) == 0 else { throw SystemError("make the directory \(folder)") }
        for name in ["ignite.db", "ignite.db-wal", "ignite.db-shm", "vms", "plans", "volumes"]
        where rename("\(paths.data)/\(name)", "\(folder)/\(name)") != 0 && errno != ENOENT {
          throw SystemError("move \(paths.data)/\(name) to \(folder)")
        }
        try FileTree.remove("\(paths.run)/vms")
        return folder
      }
    }
  }
}
