internal import FoundationEssentials
internal import IgniteEngine
internal import IgniteSystem
internal import Logging

/// Keeps the VMs' statuses true: what a supervisor writes into its VM's journal is folded at once, and a VM whose supervisor
/// was lost is noticed within a second or two.
///
/// The engine does both when it looks at its VMs; this says when to look.
public struct StatusKeeper: DaemonService {
  public let name = "status-keeper"
  private let engines: EngineSource
  /// What comes within it is one look.
  private static let debounce = Duration.milliseconds(100)
  /// A lost supervisor writes nothing: a look at each of these.
  private static let interval = Duration.seconds(1)
  /// After a look that took long there is none for so many times as long.
  private static let rest = 4

  public init(_ engines: EngineSource) { self.engines = engines }

  public func run(_ status: ServiceStatus) async throws {
    let watch = try FileWatch()
    let (wakes, wake) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    wake.yield()
    await withTaskGroup { group in
      group.addTask { for await _ in watch.changes { wake.yield() } }
      group.addTask {
        while !Task.isCancelled {
          try? await Task.sleep(for: Self.interval)
          wake.yield()
        }
      }
      var problem: String?
      for await _ in wakes {
        let began = ContinuousClock.now
        await RequestID.$current.withValue(RequestID()) { await look(watch, status, &problem) }
        try? await Task.sleep(for: max(Self.debounce, began.duration(to: .now) * Self.rest))
      }
      group.cancelAll()
    }
  }

  private func look(_ watch: FileWatch, _ status: ServiceStatus, _ problem: inout String?) async {
    let engine = engines.engine
    // What happens from here on is told, and what happened before is seen by the look.
    let found = await ThreadExecutor.run { Self.watchAll(watch, engine.paths) }
    if let found, found != problem {
      status.log.warning("not all journals can be watched: looking each second", metadata: ["error": "\(found)"])
    }
    problem = found
    do {
      let vms = try await engine.vmColumns()
      status.ready()
      status.log.trace("looked at the VMs", metadata: ["vms": "\(vms.count)"])
    } catch {
      if Task.isCancelled { return }
      // The database may be busy, or its disk full: neither is better for a start from the beginning.
      let reason = userMessage(error)
      status.unhealthy(reason)
      status.log.error("the VMs cannot be looked at", metadata: ["error": "\(reason)"])
    }
  }

  /// Watches the directory of the VMs, each VM's, and each journal. Blocking.
  ///
  /// A disk and a log are written to all the time, so a VM's directory is watched for names only.
  /// - Returns: what stands against it.
  private static func watchAll(_ watch: FileWatch, _ paths: Paths) -> String? {
    do {
      try watch.watch(paths.data + "/vms", for: .names)
      for uid in (try? FileManager.default.contentsOfDirectory(atPath: paths.data + "/vms")) ?? [] {
        try watch.watch(paths.vmData(uid), for: .names)
        try watch.watch(paths.journal(uid), for: .content)
      }
      return nil
    } catch {
      return userMessage(error)
    }
  }
}
