internal import IgniteAPI
internal import IgniteEngine

/// The filters of `ps`, as docker has them: of one kind any fits, of several kinds all have to.
struct ListFilter {
  private var statuses: [VMPhase] = []
  private var names: [String] = []
  private var health: [String] = []
  private var labels: [(key: String, value: String?)] = []

  private static let phases: [String: VMPhase] = [
    "created": .created, "starting": .starting, "running": .running, "restarting": .restarting, "paused": .paused,
    "exited": .stopped,
    "failed": .failed, "removing": .removing,
  ]

  init(_ filters: [String]) throws {
    for filter in filters {
      let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
      switch (parts.first ?? "", parts.count) {
      case ("status", 2):
        guard let phase = Self.phases[parts[1].lowercased()] else {
          throw EngineError(
            .invalidArgument, "--filter \(filter): no VM has this status",
            advice: "write one of \(Self.phases.keys.sorted().joined(separator: ", "))")
        }
        statuses.append(phase)
      case ("health", 2):
        guard ["none", "starting", "healthy", "unhealthy"].contains(parts[1]) else {
          throw EngineError(
            .invalidArgument, "--filter \(filter): no VM is of this health",
            advice: "write none, starting, healthy or unhealthy")
        }
        health.append(parts[1])
      case ("name", 2): names.append(parts[1])
      case ("label", 2):
        let pair = parts[1].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        labels.append((pair[0], pair.count > 1 ? pair[1] : nil))
      default:
        throw EngineError(
          .invalidArgument, "--filter \(filter) is not possible",
          advice: "write status=STATUS, health=HEALTH, name=PART or label=KEY[=VALUE]")
      }
    }
  }

  /// A status that is asked for is shown without `-a`, too.
  var namesStatus: Bool { !statuses.isEmpty }

  func suits(_ vm: VM) -> Bool {
    (statuses.isEmpty || statuses.contains(vm.status.phase))
      && (health.isEmpty || health.contains(vm.status.health ?? "none"))
      && (names.isEmpty || names.contains { vm.metadata.name.contains($0) })
      && labels.allSatisfy { label in
        guard let value = vm.metadata.labels?[label.key] else { return false }
        return label.value == nil || label.value == value
      }
  }
}
