internal import Glibc
internal import IgniteSystem

/// The git that is used, and the ssh beside it.
struct GitProgram: Sendable {
  let git: String
  /// Nil where there is none: https and files work.
  let ssh: String?

  /// The first with GIT_CONFIG_GLOBAL, by which the user's own configuration is kept out.
  static let oldest = (2, 32)
  static let searched = ["/usr/bin", "/usr/local/bin", "/bin"]

  static func find(in directories: [String] = searched) async throws(SourceError) -> GitProgram {
    let advice = "install it: apt-get install git"
    guard let git = program("git", in: directories) else {
      throw SourceError(.noGit, "there is no git in \(directories.joined(separator: ", "))", advice: advice)
    }
    let asked = GitProcess(
      executable: git, arguments: ["version"], environment: ["LC_ALL": "C"], workingDirectory: "/",
      outputLimit: 1 << 10,
      fileLimit: 0)
    let outcome: GitProcess.Outcome
    do {
      outcome = try await asked.run(until: .now + .seconds(30))
    } catch {
      throw SourceError(.noGit, "\(git) cannot be started: \(error.message)", advice: advice)
    }
    if outcome.stop == .cancelled { throw .cancelled }
    guard outcome.succeeded, let version = version(String(decoding: outcome.output, as: UTF8.self)) else {
      throw SourceError(.noGit, "\(git) does not tell its version", advice: advice)
    }
    guard version >= oldest else {
      throw SourceError(
        .noGit, "\(git) is of version \(version.0).\(version.1), and \(oldest.0).\(oldest.1) is needed", advice: advice)
    }
    return GitProgram(git: git, ssh: program("ssh", in: directories))
  }

  /// Of `git version 2.39.5 (…)`.
  static func version(_ text: String) -> (Int, Int)? {
    guard text.hasPrefix("git version ") else { return nil }
    let numbers = text.dropFirst("git version ".count).split(separator: ".").prefix(2).map { $0.prefix { $0.isNumber } }
    guard numbers.count == 2, let major = Int(numbers[0]), let minor = Int(numbers[1]) else { return nil }
    return (major, minor)
  }

  private static func program(_ name: String, in directories: [String]) -> String? {
    directories.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }
}
