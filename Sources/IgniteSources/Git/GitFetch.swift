internal import IgniteSystem

/// One fetch, from the question where a reference stands to the artifact.
struct GitFetch: Sendable {
  let source: GitSource
  let url: GitURL
  let target: GitReference.Target
  let paths: [String]
  let program: GitProgram
  let workspace: GitWorkspace
  let surroundings: GitSurroundings
  let deadline: ContinuousClock.Instant

  /// Where what is fetched is put.
  static let place = "refs/ignite/source"
  private static let listingLimit = 32 << 20

  /// What is asked of the server, and what it should come to.
  private struct Wanted {
    var name: String
    var commit: String
    /// Ahead of the `@` of a revision.
    var label: String?
  }

  private var subject: String { "\(url) at \(source.reference.words)" }

  func run(known: ArtifactHeader?) async throws(SourceError) -> GitFetcher.Outcome {
    let wanted = try await resolve()
    let expected = Self.revision(wanted.commit, label: wanted.label)
    if let known, known.revision == expected, known.paths == paths, known.origin == url.description {
      return .unchanged
    }
    try await fetch(wanted)
    let commit = try await readCommit()
    // Between the two questions the reference may have moved: what came counts.
    if case .commit(let asked, _) = target, commit.id != asked {
      throw SourceError(.corrupt, "\(subject): the server sent commit \(commit.id)")
    }
    let reading = GitReading(fetch: self, commit: commit.id)
    let (files, omissions) = try await reading.run()
    return .fetched(
      Artifact(
        origin: url.description, revision: Self.revision(commit.id, label: wanted.label), paths: paths, commit: commit,
        files: files, omissions: omissions))
  }

  private static func revision(_ commit: String, label: String?) -> String {
    (label.map { $0 + "@" } ?? "") + (commit.utf8.count == 64 ? "sha256:" : "sha1:") + commit
  }

  // MARK: Where it stands

  private func resolve() async throws(SourceError) -> Wanted {
    switch target {
    case .commit(let commit, let branch): return Wanted(name: commit, commit: commit, label: branch)
    case .head:
      let references = try await list(["HEAD"])
      guard let commit = references.commit("HEAD") else { throw try await missing() }
      let head = references.head ?? "HEAD"
      return Wanted(
        name: "HEAD", commit: commit, label: head.hasPrefix("refs/heads/") ? String(head.dropFirst(11)) : head)
    case .branch(let branch): return try await resolve("refs/heads/\(branch)", label: branch)
    case .tag(let tag): return try await resolve("refs/tags/\(tag)", label: tag)
    case .name(let name): return try await resolve(name, label: name)
    case .versions(let range):
      let references = try await list(["refs/tags/*"])
      guard let tag = range.highest(of: references.tags), let commit = references.commit("refs/tags/\(tag)") else {
        throw try await missing()
      }
      return Wanted(name: "refs/tags/\(tag)", commit: commit, label: tag)
    }
  }

  private func resolve(_ name: String, label: String) async throws(SourceError) -> Wanted {
    guard let commit = try await list([name, name + "^{}"]).commit(name) else { throw try await missing() }
    return Wanted(name: name, commit: commit, label: label)
  }

  private func list(_ patterns: [String]) async throws(SourceError) -> RemoteReferences {
    let arguments = ["ls-remote", "--quiet", "--symref", "--end-of-options", url.description] + patterns
    return RemoteReferences(try await git(arguments, outputLimit: Self.listingLimit))
  }

  /// Tells an empty repository from one that has other references.
  private func missing() async throws(SourceError) -> SourceError {
    let all = try await list([])
    if all.objects.isEmpty {
      return SourceError(.empty, "\(url): the repository has no commits", advice: "push a first commit to it")
    }
    let isTag =
      switch target {
      case .tag, .versions: true;
      default: false
      }
    let names = isTag ? all.tags : all.names(below: "refs/heads/")
    let shown = names.suffix(5).map { Words.clean($0, limit: 60) }.joined(separator: ", ")
    let kind = (isTag ? "tag" : "branch") + (names.count == 1 ? "" : isTag ? "s" : "es")
    return SourceError(
      .notFound, "\(url) has no \(source.reference.words)",
      advice: "check the source's reference; the repository has "
        + (names.isEmpty ? "no \(kind)" : "\(names.count) \(kind): \(shown)"))
  }

  // MARK: Fetching

  private func fetch(_ wanted: Wanted) async throws(SourceError) {
    try await configure(objectNameLength: wanted.commit.utf8.count)
    _ = try await git([
      "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
      "--no-auto-maintenance", "--filter=blob:limit=\(source.limits.fileBytes + 1)", "--end-of-options",
      url.description,
      "+\(wanted.name):\(Self.place)",
    ])
    try await configure(objectNameLength: wanted.commit.utf8.count)
  }

  private func configure(objectNameLength: Int) async throws(SourceError) {
    let workspace = workspace
    do throws(SystemError) {
      try await ThreadExecutor.run { () throws(SystemError) in
        try workspace.configure(objectNameLength: objectNameLength)
      }
    } catch {
      throw SourceError(error)
    }
  }

  private func readCommit() async throws(SourceError) -> ArtifactHeader.Commit {
    let output = try await git(
      ["cat-file", "--batch"], input: Array("\(Self.place)^{commit}\n".utf8), outputLimit: 1 << 20)
    var reader = ObjectReader(output, place: subject)
    let head = try reader.head()
    guard head.kind == "commit" else {
      throw SourceError(.notFound, "\(subject) is no commit", advice: "check the source's reference")
    }
    return ArtifactHeader.Commit(id: head.name, try reader.content(head))
  }

  // MARK: Running git

  /// - Throws: SourceError for an end with another status than 0, too.
  func git(_ arguments: [String], input: [UInt8]? = nil, outputLimit: Int = 1 << 20) async throws(SourceError)
    -> [UInt8]
  {
    let outcome: GitProcess.Outcome
    do throws(SystemError) {
      var inputFile: String?
      if let input {
        let path = "\(workspace.scratch)/input-\(UInt64.random(in: .min ... .max))"
        try await ThreadExecutor.run { () throws(SystemError) in try workspace.write(path, input) }
        inputFile = path
      }
      let process = GitProcess(
        executable: program.git, arguments: arguments, environment: surroundings.environment,
        workingDirectory: workspace.home, inputFile: inputFile, outputLimit: outputLimit,
        fileLimit: source.limits.fetchBytes)
      outcome = try await process.run(until: deadline)
    } catch {
      throw SourceError(error)
    }
    if outcome.succeeded { return outcome.output }
    switch outcome.stop {
    case .cancelled: throw .cancelled
    case .deadline:
      throw SourceError(
        .timeout, "\(subject): it took longer than \(source.timeout)",
        advice: "check the server, or give the source a longer timeout")
    case .output: throw SourceError(.tooLarge, "\(subject): its lists have more than \(outputLimit) bytes")
    case nil: break
    }
    let (place, most) = (workspace, source.limits.fetchBytes)
    if await ThreadExecutor.run({ place.hasFile(atLeast: most) }) {
      throw SourceError(
        .tooLarge, "\(subject): a fetch of it has more than \(source.limits.fetchBytes) bytes",
        advice: "take large files out of the repository, or raise the source's limits")
    }
    throw GitComplaint(subject: subject, url: url, secrets: source.credentials.secrets).error(outcome.errors)
  }
}
