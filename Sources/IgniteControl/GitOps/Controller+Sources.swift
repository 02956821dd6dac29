internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
public import IgniteSources
internal import IgniteSystem

/// Sources: looked at, and their last good content kept.
extension Controller {
  /// Where the artifacts of a source are.
  func artifacts(of source: DeclaredObject) -> ArtifactStore {
    ArtifactStore(
      directory: engine.paths.sourceArtifacts(source.metadata.uid), retention: .init(count: 20, bytes: 256 << 20))
  }

  /// The source, by kind and name.
  /// - Throws: `notFound`.
  func source(_ title: String) async throws -> DeclaredObject {
    guard let (kind, name) = ObjectReference.parts(ofTitle: title), GitOps.sources.contains(kind),
      let object = try await engine.declared(kind: kind, name: name)
    else {
      throw EngineError(
        .notFound, "there is no \(title)", advice: "apply it: kind \(GitOps.sources.joined(separator: " or "))")
    }
    return object
  }

  /// Looks at a source, and keeps what has come; its status tells how that went.
  /// - Returns: what there is of it now; nil where another process is at it.
  /// - Throws: SourceError; what was there before stays.
  public func look(at title: String) async throws -> ArtifactHeader? {
    guard let lock = try tryLock(title + "/look") else { return nil }
    defer { lock.release() }
    let object = try await source(title)
    let store = artifacts(of: object)
    let known = try? await store.newest()
    let began = Date()
    do {
      let artifact = try await read(object, known: known)
      if artifact.header != known?.header { try await store.put(artifact) }
      try await noteSource(object, artifact, known, began)
      return artifact.header
    } catch {
      if error is CancellationError || (error as? SourceError)?.code == .cancelled { throw CancellationError() }
      try await noteSource(object, failure: error, began)
      throw error
    }
  }

  private func read(_ object: DeclaredObject, known: Artifact?) async throws -> Artifact {
    if object.kind == GitOps.directory {
      return try await DirectorySource(path: object.spec["path"]?.string ?? "", known: known).read()
    }
    var credentials = GitCredentials()
    if let name = object.spec["secretRef"]?["name"]?.string {
      guard let secret = try await engine.declared(kind: Secret.kind, name: name) else {
        throw EngineError(
          .notFound, "there is no Secret/\(name), which \(object.title) names", advice: "apply it first")
      }
      credentials = try GitCredentials(secret: ConfigData(kind: Secret.kind, spec: secret.spec).values)
    }
    let reference = object.spec["ref"]
    let source = GitSource(
      url: object.spec["url"]?.string ?? "",
      reference: GitReference(
        branch: reference?["branch"]?.string, tag: reference?["tag"]?.string, semver: reference?["semver"]?.string,
        commit: reference?["commit"]?.string), credentials: credentials,
      timeout: .milliseconds(object.spec["timeout"]?.integer ?? 60_000))
    let isSame = SourceStatus(object).observedGeneration == object.metadata.generation
    let fetcher = GitFetcher(directory: engine.paths.sourceWork)
    switch try await fetcher.fetch(source, known: isSame ? known?.header : nil) {
    case .fetched(let artifact): return artifact
    case .unchanged:
      guard let known else { throw SourceError(.failed, "\(object.title): nothing was fetched") }
      return known
    }
  }

  private func noteSource(
    _ object: DeclaredObject, _ artifact: Artifact, _ known: Artifact?, _ time: Date
  ) async throws {
    let header = artifact.header
    let isNew = header.revision != known?.header.revision
    if isNew {
      var attributes = ["revision": header.revision]
      attributes["message"] = header.commit?.subject
      if let known, artifact.succession(after: known.header) == .rewinds {
        attributes["rewound"] = "the branch was rewritten or set back"
      }
      await engine.tell(object.kind.lowercased(), "fetched", id: object.metadata.name, attributes)
    }
    try await write(object) { (status: inout SourceStatus) in
      let old = status.artifact
      status.artifact = SourceStatus.Content(
        revision: header.revision, digest: header.digest, files: header.entries.count, bytes: header.totalBytes,
        subject: header.commit?.subject, author: header.commit?.author,
        committed: header.commit.map { Date(timeIntervalSince1970: TimeInterval($0.committed)) },
        lastUpdateTime: old?.revision == header.revision ? old?.lastUpdateTime ?? time : time)
      let left =
        header.omitted == 0
        ? ""
        : "; \(header.omitted) left out, \(header.omissions[0].path) for one: \(header.omissions[0].reason.rawValue)"
      status.sumUp("Ready", reason: "Fetched", "\(header.revision): \(header.entries.count) files\(left)", at: time)
    }
  }

  private func noteSource(_ object: DeclaredObject, failure: any Error, _ time: Date) async throws {
    let message = userMessage(failure)
    let code = (failure as? SourceError)?.code.rawValue ?? "failed"
    let reason = code.prefix(1).uppercased() + code.dropFirst()
    if SourceStatus(object).condition("Ready")?.message != message {
      await engine.tell(
        object.kind.lowercased(), "failed", id: object.metadata.name, ["reason": reason, "message": message])
    }
    try await write(object) { (status: inout SourceStatus) in
      status.sumUp("Stalled", reason: reason, message, at: time)
    }
  }
}
