public import IgniteAPI
public import IgniteEngine
internal import IgniteSystem

extension Controller {
  /// What applying the object's last manifest once more would come to; nil of one that was never applied.
  public func pending(kind: String, _ metadata: ObjectMeta) async throws -> ObjectPlan? {
    guard let last = try lastApplied(metadata) else { return nil }
    var manifest = Manifest(
      place: "what was applied last", kind: kind, name: metadata.name, labels: last["labels"]?.texts ?? [:],
      annotations: [:], given: last["spec"] ?? .object([:]))
    manifest.owner = metadata.ownerTitle
    return try await plan([manifest])
  }

  /// What bringing a composed object's parts about would come to.
  public func pending(_ object: DeclaredObject) async throws -> ObjectPlan { try await plan([object.manifest]) }

  /// Each of the objects that a composed one consists of itself, and how far it is.
  public func parts(of object: DeclaredObject) async throws -> [(manifest: Manifest, readiness: Readiness)] {
    let all = try Self.expanded([object.manifest])
    var parts: [(manifest: Manifest, readiness: Readiness)] = []
    for part in all where part.owner == object.manifest.title {
      parts.append((part, try await readiness(of: part, all: all)))
    }
    return parts
  }
}
