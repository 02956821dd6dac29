internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSources
public import IgniteSystem

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
    if directory?.spec["path"]?.string != path {
      objects.append(Self.object(GitOps.directory, name, ["path": .string(path)]))
    }
    if sync == nil {
      objects.append(
        Self.object(
          GitOps.sync, name,
          ["sourceRef": ["kind": .string(GitOps.directory), "name": .string(name)], "prune": true, "interval": "30s"]))
    }
    guard !objects.isEmpty else { return false }
    try await declare(objects, by: "the daemon's manifests")
    return true
  }

  /// An object as a manifest has it.
  public static func object(_ kind: String, _ name: String, _ spec: JSONValue) -> JSONValue {
    [
      "apiVersion": .string(APIVersion.current), "kind": .string(kind), "metadata": ["name": .string(name)],
      "spec": spec,
    ]
  }

  /// Brings about what a program declares, and no file.
  /// - Parameter place: as messages name it.
  public func declare(_ objects: [JSONValue], by place: String) async throws {
    let manifests = try ManifestReader.read(try ManifestWriter.yaml(objects), file: place)
    _ = try await apply(try await plan(manifests), manifests, exactly: false) { _ in }
  }
}
