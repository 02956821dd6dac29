internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSources
internal import IgniteSystem

extension Controller {
  /// What the objects of the directory that a daemon watches are named.
  public static let manifestsName = "manifests"
  /// Where Weave Ignite's daemon had them.
  public static let usualManifests = DirectorySource.usualPath

  /// Declares a directory, and the sync that brings about what is in it. A sync that is there already stays as somebody
  /// has made it, suspended for one.
  /// - Parameter path: absolute.
  /// - Returns: whether something had to be declared.
  public func declareManifests(_ path: String) async throws -> Bool {
    let name = Self.manifestsName
    let directory = try await engine.declared(kind: GitOps.directory, name: name)
    let sync = try await engine.declared(kind: GitOps.sync, name: name)
    var objects: [JSONValue] = []
    func object(_ kind: String, _ spec: JSONValue) -> JSONValue {
      [
        "apiVersion": .string(APIVersion.current), "kind": .string(kind), "metadata": ["name": .string(name)],
        "spec": spec,
      ]
    }
    if directory?.spec["path"]?.string != path { objects.append(object(GitOps.directory, ["path": .string(path)])) }
    if sync == nil {
      objects.append(
        object(
          GitOps.sync,
          ["sourceRef": ["kind": .string(GitOps.directory), "name": .string(name)], "prune": true, "interval": "30s"]))
    }
    guard !objects.isEmpty else { return false }
    let manifests = try ManifestReader.read(try ManifestWriter.yaml(objects), file: "the daemon's manifests")
    _ = try await apply(try await plan(manifests), manifests, exactly: false) { _ in }
    return true
  }
}
