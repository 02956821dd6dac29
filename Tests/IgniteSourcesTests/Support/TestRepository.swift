import Foundation

/// A bare repository that the real git makes, for a source to be read from. It needs nothing else of its target than `tool` and
/// `TestDirectory`, so that other targets can link it.
final class TestRepository: Sendable {
  /// What a commit has at a path.
  enum Entry: Sendable {
    case text(String)
    case bytes([UInt8])
    case link(String)
    case submodule(String)
  }

  let path: String
  var url: String { "file://\(path)" }

  init(_ path: String, objectFormat: String = "sha1") async throws {
    self.path = path
    try await tool(["git", "init", "-q", "--bare", "-b", "main", "--object-format=\(objectFormat)", path])
    // A server says what it serves; http-backend and the partial fetch want to be told.
    try await git(["config", "http.uploadpack", "true"])
    try await git(["config", "uploadpack.allowFilter", "true"])
  }

  @discardableResult
  func git(_ arguments: [String], input: [UInt8]? = nil) async throws -> String {
    let quiet = ["env", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "git", "--git-dir", path]
    let output = try await tool(quiet + arguments, input: input)
    return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// A commit of exactly these files.
  ///
  /// - Parameters:
  ///   - rewriting: whether the branch's history begins anew.
  ///   - time: seconds since 1970.
  @discardableResult
  func commit(
    _ files: [String: Entry], branch: String = "main", rewriting: Bool = false, message: String = "A change",
    time: Int = 1_700_000_000
  ) async throws -> String {
    let parent = rewriting ? nil : try? await git(["rev-parse", "--verify", "-q", "refs/heads/\(branch)"])
    var stream: [UInt8] = []
    func line(_ text: String) { stream += Array((text + "\n").utf8) }
    func data(_ bytes: [UInt8]) {
      line("data \(bytes.count)")
      stream += bytes
      line("")
    }
    line("commit refs/heads/\(branch)")
    line("author Ann <ann@test> \(time) +0000")
    line("committer Bo <bo@test> \(time) +0000")
    data(Array(message.utf8))
    if let parent { line("from \(parent)") }
    line("deleteall")
    for (path, entry) in files.sorted(by: { $0.key < $1.key }) {
      switch entry {
      case .text(let text):
        line("M 100644 inline \(Self.quoted(path))")
        data(Array(text.utf8))
      case .bytes(let bytes):
        line("M 100644 inline \(Self.quoted(path))")
        data(bytes)
      case .link(let target):
        line("M 120000 inline \(Self.quoted(path))")
        data(Array(target.utf8))
      case .submodule(let commit): line("M 160000 \(commit) \(Self.quoted(path))")
      }
    }
    line("done")
    try await git(["fast-import", "--quiet", "--force", "--done"], input: stream)
    return try await git(["rev-parse", "refs/heads/\(branch)"])
  }

  func tag(_ name: String, _ object: String = "main", annotated: Bool = false) async throws {
    let person = ["-c", "user.name=Ann", "-c", "user.email=ann@test"]
    try await git(person + ["tag"] + (annotated ? ["-a", "-m", "A release"] : []) + [name, object])
  }

  /// As git quotes a path (fast-import's `"`).
  private static func quoted(_ path: String) -> String {
    var text = "\""
    for scalar in path.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
