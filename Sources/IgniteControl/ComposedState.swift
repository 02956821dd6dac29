internal import FoundationEssentials
public import IgniteAPI
public import IgniteEngine
public import IgniteSystem

/// How far a composed object is what it is declared as.
public struct ComposedState: Sendable {
  public var ready: Int
  public var total: Int
  public var readiness: Readiness
  var isDeleting: Bool
  var generation: Int64

  /// In a word.
  public var word: String { readiness.word(isDeleting: isDeleting) }

  /// Its status.
  public var status: JSONValue {
    [
      "observedGeneration": .integer(generation), "ready": .integer(Int64(ready)), "total": .integer(Int64(total)),
      "conditions": .array(
        readiness.conditions(isDeleting: isDeleting, generation: generation, otherwise: "\(ready) of \(total) ready")),
    ]
  }
}

extension Readiness {
  /// `Ready`, `Reconciling`, `Stalled` or `Deleting`.
  func word(isDeleting: Bool) -> String {
    if isDeleting { return "Deleting" }
    return switch self {
    case .ready: "Ready"
    case .waiting: "Reconciling"
    case .failed: "Stalled"
    }
  }

  /// The one place that sums an object up: Ready, Reconciling and Stalled, as kstatus reads them
  /// (https://github.com/kubernetes-sigs/cli-utils, pkg/kstatus).
  /// - Parameter otherwise: what is said of one that is ready.
  public func conditions(isDeleting: Bool, generation: Int64, otherwise: String) -> [JSONValue] {
    let word = word(isDeleting: isDeleting)
    return ["Ready", "Reconciling", "Stalled"].map { type in
      [
        "type": .string(type),
        "status": .string(type == word || (isDeleting && type == "Reconciling") ? "True" : "False"),
        "reason": .string(word), "message": .string(isDeleting ? "it is being deleted" : reason ?? otherwise),
        "observedGeneration": .integer(generation),
      ]
    }
  }
}

extension DeclaredObject {
  /// As its manifest would have it.
  public var manifest: Manifest {
    var manifest = Manifest(
      place: "the object", kind: kind, name: metadata.name, labels: metadata.labels ?? [:], annotations: [:],
      given: spec)
    manifest.owner = metadata.ownerTitle
    return manifest
  }
}

extension Controller {
  /// How a composed object is now.
  public func state(of object: DeclaredObject) async throws -> ComposedState {
    let manifest = object.manifest
    let sum = try await sum(of: manifest, all: try Self.expanded([manifest]))
    return ComposedState(
      ready: sum.ready, total: sum.total, readiness: sum.readiness,
      isDeleting: object.metadata.deletionTimestamp != nil, generation: object.metadata.generation)
  }
}
