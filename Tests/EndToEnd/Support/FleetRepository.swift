import FoundationEssentials
import Glibc
import Testing

/// A repository of git with the manifests of a fleet, that a test commits to.
struct FleetRepository {
  let path: String

  init(_ path: String) async throws {
    self.path = path
    // It has to belong to the user that Ignite runs as.
    try await Ignite.run(Ignite.wrap + ["/bin/mkdir", "-m", "755", path])
    // A server's user must be able to read it.
    try await git("init", "-q", "--shared=0644", "-b", "main", ".")
  }

  @discardableResult
  func git(_ words: String...) async throws -> String {
    let settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    let result = try await Ignite.run(Ignite.wrap + ["/usr/bin/git", "-C", path] + settings + words)
    guard result.status == 0 else {
      Issue.record("git \(words): \(result.errorText)")
      throw CommandFailed()
    }
    return result.text.trimmingSuffix()
  }

  /// Writes files, takes others away (nil), and commits; the commit.
  @discardableResult
  func commit(_ subject: String, _ files: [String: String?]) async throws -> String {
    for (name, text) in files {
      let file = "\(path)/\(name)"
      guard let text else {
        unlink(file)
        continue
      }
      try FileManager.default.createDirectory(
        atPath: String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)]), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(filePath: file))
    }
    try await git("add", "-A")
    try await git("commit", "-q", "--allow-empty", "-m", subject)
    return try await git("rev-parse", "HEAD")
  }

  /// What has a command or a daemon bring VMs about without machines.
  static let nothing = ["IGNITE_DRIVER": "does-nothing"]

  /// The manifest of a VM that sleeps.
  static func vm(_ name: String, seconds: Int = 3600) -> String {
    """
    apiVersion: ignite.weave.works/v1beta1
    kind: VM
    metadata: {name: \(name)}
    spec:
      image: {oci: \(Ignite.image)}
      resources: {memory: 128MiB}
      updatePolicy: Replace
      process: {args: [sleep, "\(seconds)"], env: ["STAGE=${STAGE:=none}"]}
    """
  }

  /// Declares it, and a sync of what is below vms/.
  /// - Parameter more: fields of the sync, each with a comma before it.
  func declare(in ignite: Ignite, more: String = "") async throws {
    let text = """
      apiVersion: ignite.weave.works/v1beta1
      kind: GitRepository
      metadata: {name: fleet}
      spec: {url: \(path), ref: {branch: main}, interval: 1s}
      ---
      apiVersion: ignite.weave.works/v1beta1
      kind: Sync
      metadata: {name: fleet}
      spec: {sourceRef: {kind: GitRepository, name: fleet}, path: vms, interval: 3s\(more)}
      """
    try await ignite.apply(text)
  }

  /// A commit as `gitops status` names it.
  static func short(_ commit: String) -> String { "main@sha1:\(commit.prefix(12))" }
}

extension Ignite {
  /// Waits until `gitops status` has it all, and returns what it prints.
  @discardableResult
  func gitOps(_ words: String...) async throws -> String {
    while true {
      let text = try await succeed("gitops", "status")
      if words.allSatisfy(text.contains) { return text }
      try Task.checkCancellation()
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// `ignited gitops --once`.
  func gitOpsOnce(_ words: [String], extra: [String: String] = [:]) async throws -> Program.Result {
    var command = command([], extra: extra)
    command.arguments = (Ignite.wrap + [try ignited(), "gitops", "--once"] + words).withAbsoluteFirst()
    return try await command.run()
  }

  /// Applies manifests that must be right.
  func apply(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let applied = try await self(["apply", "-y", "-f", "-"], input: Array(text.utf8))
    #expect(applied.status == 0, "\(applied.errorText)", sourceLocation: sourceLocation)
  }
}
