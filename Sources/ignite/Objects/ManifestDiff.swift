internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// `diff -f`: objects as they are beside what they would be, shown by diff(1) or the user's own program.
enum ManifestDiff {
  /// - Returns: the program's status: 0 where nothing differs, 1 where something does, more for what went wrong.
  static func show(_ differences: [ObjectDifference]) async throws -> Int32 {
    let scratch = try await ThreadExecutor.run { () throws in
      let scratch = try ScratchFolder("ignite-diff")
      do {
        try write(differences, scratch.path)
      } catch {
        scratch.remove()
        throw error
      }
      return scratch
    }
    let result: Result<Int32, any Error>
    do {
      result = .success(
        try await ForegroundChild.run("exec \"$@\"", program + ["LIVE", "MERGED"], directory: scratch.path))
    } catch {
      result = .failure(error)
    }
    await ThreadExecutor.run { scratch.remove() }
    let status = try result.get()
    guard status != 127 else {
      throw EngineError(
        .notFound, "there is no program \(program[0])",
        advice: "install diffutils, or name another: IGNITE_EXTERNAL_DIFF")
    }
    return status
  }

  /// What the diff does not tell: a VM goes for it, or it does not come about at all.
  static func remarks(_ differences: [ObjectDifference]) -> [String] {
    differences.compactMap { difference in
      let title = difference.change.title
      return switch difference.change.action {
      case .replace: "\(title) would be replaced, and its disk with it"
      case .pending: "\(title) differs in what cannot be changed in place; apply leaves it as it is"
      default: nil
      }
    }
  }

  /// Words apart by spaces, and of those behind the first only what is a plain flag, as kubectl takes them.
  private static var program: [String] {
    let environment = ProcessInfo.processInfo.environment
    let line = ["IGNITE_EXTERNAL_DIFF", "KUBECTL_EXTERNAL_DIFF"].lazy.compactMap { environment[$0] }
      .first { !$0.isEmpty }
    guard let words = line?.split(separator: " ").map(String.init), let first = words.first else {
      return ["diff", "-u", "-N"]
    }
    func isFlag(_ word: String) -> Bool {
      word.utf8.allSatisfy {
        (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || [45, 61].contains($0)
      }
    }
    return [first] + words.dropFirst().filter(isFlag)
  }

  /// Blocking.
  private static func write(_ differences: [ObjectDifference], _ folder: String) throws {
    for name in ["LIVE", "MERGED"] {
      guard mkdir("\(folder)/\(name)", 0o700) == 0 else { throw SystemError("make \(folder)/\(name)") }
    }
    for difference in differences {
      let name = difference.change.name.split(separator: "/").joined(separator: "%")
      let file = "\(difference.change.kind).\(name)"
      for (name, document) in [("LIVE", difference.live), ("MERGED", difference.merged)] {
        guard let document else { continue }
        try ManifestWriter.yaml([document]).write(
          toFile: "\(folder)/\(name)/\(file)", atomically: false, encoding: .utf8)
      }
    }
  }
}
