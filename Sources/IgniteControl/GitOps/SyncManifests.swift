internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSources
internal import IgniteSystem

extension Controller {
  /// All manifests of an artifact below the sync's path, with what the sync adds to them.
  /// - Throws: ManifestError that names revision, file, line and field.
  func manifests(of artifact: Artifact, _ spec: SyncSpec) async throws -> [Manifest] {
    let folder = spec.folder
    let files = artifact.files.filter { folder.isEmpty || $0.path == folder || $0.path.hasPrefix(folder + "/") }
    guard !files.isEmpty || folder.isEmpty else {
      throw ManifestError("\(artifact.revision) has no manifests below \(folder)/", advice: "is spec.path right?")
    }
    let substitution = try await substitution(spec)
    var manifests: [Manifest] = []
    for file in files {
      let place = "\(file.path)@\(Self.short(artifact.revision))"
      guard var text = String(validating: file.bytes, as: UTF8.self) else {
        throw ManifestError("\(place) is not UTF-8")
      }
      if let substitution { text = try substitution.applied(to: text, file: place) }
      manifests += try ManifestReader.read(text, file: place)
      guard manifests.count <= ManifestLimits.documents else {
        throw ManifestError("\(artifact.revision) has more than \(ManifestLimits.documents) objects")
      }
    }
    return manifests.map { manifest in
      var manifest = manifest
      manifest.labels.merge(spec.commonMetadata?.labels ?? [:]) { $1 }
      manifest.annotations.merge(spec.commonMetadata?.annotations ?? [:]) { $1 }
      if spec.force == true, manifest.kind == VM.kind, manifest.given["updatePolicy"] == nil {
        manifest.given["updatePolicy"] = .string(UpdatePolicy.replace.rawValue)
      }
      return manifest
    }
  }

  /// `main@sha1:0123456789ab` of a commit, twelve digits of what else there is.
  public static func short(_ revision: String) -> String {
    guard let colon = revision.lastIndex(of: ":") else { return String(revision.prefix(40)) }
    let digits = revision.index(after: colon)
    return String(revision[..<digits] + revision[digits...].prefix(12))
  }

  private func substitution(_ spec: SyncSpec) async throws -> Substitution? {
    guard let values = spec.postBuild else { return nil }
    var all: [String: String] = [:]
    for from in values.substituteFrom ?? [] {
      guard let object = try await engine.declared(kind: from.kind, name: from.name) else {
        if from.optional == true { continue }
        throw ManifestError(
          "postBuild.substituteFrom: there is no \(from.kind)/\(from.name)", advice: "apply it, or say optional: true")
      }
      for (key, bytes) in ConfigData(kind: from.kind, spec: object.spec).values {
        guard let text = String(validating: bytes, as: UTF8.self) else { continue }
        all[key] = text
      }
    }
    return Substitution(values: all.merging(values.substitute ?? [:]) { $1 })
  }
}
