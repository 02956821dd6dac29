internal import CoreMetrics
internal import IgniteControl
internal import IgniteSystem
internal import Logging

/// Looks at sources, and runs syncs.
public struct GitOpsKeeper: DaemonService {
  public let name = "gitops-keeper"
  private let engines: EngineSource

  public init(_ engines: EngineSource) { self.engines = engines }

  /// Under each configuration until it is reloaded.
  public func run(_ status: ServiceStatus) async throws {
    while !Task.isCancelled {
      let runner = GitOpsRunner(Controller(engine: engines.engine), report: Self.report(status.log))
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await runner.run { status.ready() } }
        group.addTask { for await _ in status.reloads { break } }
        try await group.next()
        group.cancelAll()
      }
    }
  }

  private static func report(_ log: Logger) -> GitOpsRunner.Report {
    { title, outcome, took in
      let (seconds, attoseconds) = took.components
      let kind = title.prefix { $0 != "/" }
      let name = kind == "Sync" ? "ignite_gitops_sync_seconds" : "ignite_gitops_source_seconds"
      Timer(label: name).recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
      Counter(
        label: "ignite_gitops_runs_total", dimensions: [("kind", String(kind)), ("outcome", outcome.word)]
      ).increment()
      var metadata: Logger.Metadata = ["object": "\(title)", "took": "\(took)"]
      switch outcome {
      case .looked(let revision):
        metadata["revision"] = "\(revision ?? "")"
        log.debug("a source was looked at", metadata: metadata)
      case .synced(.applied(let revision, let changes)):
        metadata["revision"] = "\(revision)"
        metadata["changes"] = "\(changes)"
        log.notice("a revision was applied", metadata: metadata)
      case .synced(.drifted(let revision, let titles)):
        metadata["revision"] = "\(revision)"
        metadata["objects"] = "\(titles.joined(separator: ","))"
        log.warning("objects are not as they are declared, and are left so", metadata: metadata)
      case .synced(.waiting(let reason)):
        metadata["reason"] = "\(reason)"
        log.info("a sync waits", metadata: metadata)
      case .synced: log.debug("a sync was run: \(outcome.word)", metadata: metadata)
      case .failed(let reason):
        metadata["error"] = "\(reason)"
        log.error(kind == "Sync" ? "a sync failed" : "a source could not be read", metadata: metadata)
      }
    }
  }
}

extension GitOpsRunner.Outcome {
  /// As a metric's label.
  var word: String {
    switch self {
    case .looked: "looked"
    case .failed: "failed"
    case .synced(let outcome):
      switch outcome {
      case .unchanged: "unchanged"
      case .applied: "applied"
      case .drifted: "drifted"
      case .suspended: "suspended"
      case .waiting: "waiting"
      case .busy: "busy"
      case .gone: "gone"
      }
    }
  }
}
