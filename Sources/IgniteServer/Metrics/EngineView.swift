internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// What metrics and health tell of the engine's objects: looked at when it is asked for, once a second at most.
actor EngineView {
  enum Look: Sendable {
    case counted(phases: [VMPhase: Int], volumes: Int)
    case failed(String)
  }

  private let engines: EngineSource
  private var last: (look: Look, time: ContinuousClock.Instant)?
  private var isLooking = false
  private static let age = Duration.seconds(1)

  init(_ engines: EngineSource) { self.engines = engines }

  /// While another look is under way, the last one's result.
  func look() async -> Look {
    if let last, isLooking || last.time.duration(to: .now) < Self.age { return last.look }
    isLooking = true
    defer { isLooking = false }
    let look: Look
    do {
      let engine = engines.engine
      let phases = Dictionary(grouping: try await engine.vms(), by: \.status.phase).mapValues(\.count)
      look = .counted(phases: phases, volumes: try await engine.volumes().count)
    } catch {
      look = .failed(userMessage(error))
    }
    last = (look, .now)
    return look
  }

  func families() async -> [MetricFamily] {
    guard case .counted(let phases, let volumes) = await look() else {
      return [MetricFamily("ignite_store_up", .gauge, help: "Whether the VMs' records can be read.", 0)]
    }
    return [
      MetricFamily("ignite_store_up", .gauge, help: "Whether the VMs' records can be read.", 1),
      MetricFamily(
        "ignite_vms", .gauge, help: "VMs by phase.",
        samples: VMPhase.allCases.map { phase in
          .init(labels: [("phase", phase.rawValue)], value: Double(phases[phase] ?? 0))
        }),
      MetricFamily("ignite_volumes", .gauge, help: "Volumes.", Double(volumes)),
    ]
  }

  /// What stands against reading the records; nil where nothing does.
  func failure() async -> String? {
    if case .failed(let reason) = await look() { return reason }
    return nil
  }
}
