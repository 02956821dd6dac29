internal import FoundationEssentials
public import IgniteAPI
internal import IgniteEngine
public import IgniteSystem

/// Whether an object has become what it was declared for.
public enum Readiness: Sendable, Equatable {
  case ready
  case waiting(String)
  /// It will not come by itself.
  case failed(String)

  /// nil of one that is ready.
  public var reason: String? {
    switch self {
    case .ready: nil
    case .waiting(let reason), .failed(let reason): reason
    }
  }
}

extension Controller {
  /// Whether the manifest's object is ready: a VM runs and is healthy, or has done its work; a composed one has all its parts.
  public func readiness(of manifest: Manifest) async throws -> Readiness {
    switch manifest.kind {
    case Volume.kind:
      (try? await engine.volume(manifest.name)) == nil ? .waiting("it is not there") : .ready
    case App.kind, VMSet.kind:
      try await readiness(of: manifest, all: try Self.expanded([manifest]))
    case VM.kind: try await readiness(ofVM: manifest)
    default:
      try await engine.declared(kind: manifest.kind, name: manifest.name).map(\.readiness)
        ?? .waiting("it is not there")
    }
  }

  func readiness(of manifest: Manifest, all: [Manifest]) async throws -> Readiness {
    manifest.isComposed ? try await sum(of: manifest, all: all).readiness : try await readiness(of: manifest)
  }

  /// What a composed object's parts come to, and how many of them are ready.
  func sum(
    of manifest: Manifest, all: [Manifest]
  ) async throws -> (ready: Int, total: Int, readiness: Readiness) {
    let parts = all.filter { $0.owner == manifest.title }
    var (ready, waiting, failed) = (0, String?.none, String?.none)
    for part in parts {
      switch try await readiness(of: part, all: all) {
      case .ready: ready += 1
      case .waiting(let reason): waiting = waiting ?? "\(part.title): \(reason)"
      case .failed(let reason): failed = failed ?? "\(part.title): \(reason)"
      }
    }
    let readiness: Readiness =
      if let failed {
        .failed("\(ready) of \(parts.count) ready; \(failed)")
      } else if let waiting {
        .waiting("\(ready) of \(parts.count) ready; \(waiting)")
      } else {
        .ready
      }
    return (ready, parts.count, readiness)
  }

  private func readiness(ofVM manifest: Manifest) async throws -> Readiness {
    guard let vm = try await engine.vm(named: manifest.name) else { return .waiting("it is not there") }
    return vm.readiness(wish: manifest.given["state"]?.string.flatMap(DesiredState.init) ?? .running)
  }

  /// Waits until the object is ready.
  /// - Throws: EngineError where it never will be.
  func awaitReady(
    _ manifest: Manifest, _ all: [Manifest], for title: String?, _ progress: @escaping Report
  ) async throws {
    var told: String?
    while true {
      switch try await readiness(of: manifest, all: all) {
      case .ready: return
      case .failed(let reason):
        let what = title.map { "\($0) depends on \(manifest.title), which" } ?? "\(manifest.title)"
        throw EngineError(
          .wrongState, "\(what) is not ready: \(reason)", advice: "look at it: ignite logs, ignite get vms")
      case .waiting(let reason):
        if reason != told {
          progress(
            .waiting(title: title ?? manifest.title, reason: title == nil ? reason : "\(manifest.title): \(reason)"))
        }
        told = reason
      }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// Waits until all of them are ready, or the time is over.
  public func awaitReady(_ manifests: [Manifest], timeout: Duration?, progress: @escaping Report) async throws {
    let all = try Self.expanded(manifests)
    let deadline = timeout.map { ContinuousClock.now + $0 }
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        for manifest in all where manifest.owner == nil { try await awaitReady(manifest, all, for: nil, progress) }
        return true
      }
      if let deadline {
        group.addTask {
          try await Task.sleep(until: deadline)
          return false
        }
      }
      let isReady = try await group.next() ?? true
      group.cancelAll()
      if isReady { return }
      if let (title, reason) = try await firstUnready(all) {
        throw EngineError(.wrongState, "\(title) is not ready in time: \(reason)", advice: "give more: --timeout")
      }
    }
  }

  /// The first object that is not ready, and why.
  /// - Parameter all: with the parts of those that are composed.
  func firstUnready(_ all: [Manifest]) async throws -> (title: String, reason: String)? {
    for manifest in all where manifest.owner == nil {
      if let reason = try await readiness(of: manifest, all: all).reason { return (manifest.title, reason) }
    }
    return nil
  }
}

extension VM {
  /// Its conditions, and what sums it up.
  public var allConditions: [JSONValue] {
    get throws {
      let own = try status.conditions.map { try JSONValue.parse(Array(APICoding.encoder().encode($0))) }
      return readiness(wish: spec.state).conditions(
        isDeleting: status.phase == .removing, generation: metadata.generation,
        otherwise: "it is \(status.phase.rawValue)")
        + own
    }
  }

  /// Whether it is what it is wished to be.
  public func readiness(wish: DesiredState) -> Readiness {
    switch (status.phase, wish) {
    case (.paused, .paused): return .ready
    case (.created, .stopped), (.stopped, .stopped), (.failed, .stopped): return .ready
    case (.running, .running):
      switch status.health {
      case "starting"?: return .waiting("its health is being checked")
      case "unhealthy"?: return .waiting("it is unhealthy")
      default: return .ready
      }
    case (.stopped, .running):
      let code = status.exitCode ?? 0
      return code == 0 && spec.state == .running ? .ready : .failed("its process has ended with \(code)")
    case (.failed, _): return .failed(status.message ?? "it has failed")
    case (.stopped, .paused): return .failed("its process has ended")
    default: return .waiting("it is \(status.phase.rawValue)")
    }
  }
}
