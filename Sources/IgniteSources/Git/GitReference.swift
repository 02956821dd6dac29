/// Which commit of a repository is wanted. The most specific of what is set wins: commit, name, semver, tag, branch. Nothing set is
/// the repository's own default branch.
public struct GitReference: Sendable, Hashable, Codable {
  public var branch: String?
  public var tag: String?
  /// A range of versions: the highest tag in it.
  public var semver: String?
  /// A full name, as `refs/pull/12/head`.
  public var name: String?
  /// 40 hex digits, or 64 in a repository of SHA-256.
  public var commit: String?

  public init(
    branch: String? = nil, tag: String? = nil, semver: String? = nil, name: String? = nil, commit: String? = nil
  ) {
    self.branch = branch
    self.tag = tag
    self.semver = semver
    self.name = name
    self.commit = commit
  }

  /// What it comes to.
  enum Target: Sendable, Hashable {
    case head
    case branch(String)
    case tag(String)
    case versions(VersionRange)
    case name(String)
    case commit(String, branch: String?)
  }

  func target() throws(SourceError) -> Target {
    if let commit {
      guard isObjectName(commit) else {
        throw SourceError(
          .badSource, "\(Words.clean(commit, limit: 80)) is no commit",
          advice: "give all of its 40 hex digits, in lower case")
      }
      return .commit(
        commit, branch: try branch.map { branch throws(SourceError) in try Self.checked(branch, "branch") })
    }
    if let name { return .name(try Self.checked(name, "reference")) }
    if let semver { return .versions(try VersionRange(semver)) }
    if let tag { return .tag(try Self.checked(tag, "tag")) }
    if let branch { return .branch(try Self.checked(branch, "branch")) }
    return .head
  }

  /// For messages.
  public var words: String {
    if let commit { return "commit \(Words.clean(commit, limit: 64))" }
    if let name { return "reference \(Words.clean(name, limit: 100))" }
    if let semver { return "versions \(Words.clean(semver, limit: 100))" }
    if let tag { return "tag \(Words.clean(tag, limit: 100))" }
    if let branch { return "branch \(Words.clean(branch, limit: 100))" }
    return "its default branch"
  }

  private static func checked(_ name: String, _ kind: String) throws(SourceError) -> String {
    guard isName(name), kind != "reference" || name.hasPrefix("refs/") else {
      throw SourceError(
        .badSource, "\(Words.clean(name, limit: 100)) is no name of a \(kind)",
        advice: kind == "reference"
          ? "write it whole, as refs/heads/main" : "write it as git branch or git tag prints it")
    }
    return name
  }

  /// By the rules of git-check-ref-format(1), and not an option.
  static func isName(_ name: some StringProtocol) -> Bool {
    guard !name.isEmpty, name.utf8.count <= 1024, !Words.hasControl(name), name != "@", !name.hasPrefix("-") else {
      return false
    }
    if name.contains("..") || name.contains("@{") || name.hasSuffix(".") { return false }
    if name.utf8.contains(where: { " ~^:?*[\\".utf8.contains($0) }) { return false }
    return name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
      !$0.isEmpty && !$0.hasPrefix(".") && !$0.hasSuffix(".lock")
    }
  }
}
