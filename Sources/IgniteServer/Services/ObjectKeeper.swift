internal import CoreMetrics
internal import IgniteControl
internal import IgniteSystem
internal import Logging

/// Keeps declared objects what they are declared as.
public struct ObjectKeeper: DaemonService {
  public let name = "object-keeper"
  private let engines: EngineSource

  public init(_ engines: EngineSource) { self.engines = engines }

  /// Under each configuration until it is reloaded.
  public func run(_ status: ServiceStatus) async throws {
    while !Task.isCancelled {
      let reconciler = Reconciler(Controller(engine: engines.engine), report: Self.report(status.log))
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await reconciler.run { status.ready() } }
        group.addTask { for await _ in status.reloads { break } }
        try await group.next()
        group.cancelAll()
      }
    }
  }

  /// Logs what was done, and counts it; that nothing was to be done is for `debug`.
  private static func report(_ log: Logger) -> Reconciler.Report {
    { title, outcome, took in
      let (seconds, attoseconds) = took.components
      Timer(label: "ignite_reconcile_seconds").recordNanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
      Counter(label: "ignite_reconciles_total", dimensions: [("outcome", outcome.word)]).increment()
      let metadata: Logger.Metadata = ["object": "\(title)", "took": "\(took)"]
      switch outcome {
      case .unchanged, .busy, .gone: log.debug("an object was looked at: \(outcome.word)", metadata: metadata)
      case .mended(let changes):
        for change in changes {
          var metadata = metadata
          metadata["part"] = "\(change.title)"
          metadata["fields"] = "\(change.changes.map(\.field).joined(separator: ","))"
          log.notice("an object was not as it is declared: \(change.action.rawValue)", metadata: metadata)
        }
      case .failed(let reason):
        var metadata = metadata
        metadata["error"] = "\(reason)"
        log.error("an object could not be brought to what it is declared as", metadata: metadata)
      }
    }
  }
}

extension Reconciler.Outcome {
  /// As a metric's label.
  var word: String {
    switch self {
    case .unchanged: "unchanged"
    case .mended: "mended"
    case .busy: "busy"
    case .gone: "gone"
    case .failed: "failed"
    }
  }
}
