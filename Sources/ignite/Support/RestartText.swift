internal import IgniteAPI
internal import IgniteEngine

/// Restart policies as docker writes them.
enum RestartText {
  static func policy(_ text: String) throws -> VMSpec.Restart {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    switch (parts[0], parts.count) {
    case ("no", 1): return VMSpec.Restart()
    case ("always", 1): return VMSpec.Restart(policy: .always)
    case ("unless-stopped", 1): return VMSpec.Restart(policy: .unlessStopped)
    case ("on-failure", 1): return VMSpec.Restart(policy: .onFailure)
    case ("on-failure", 2):
      guard let count = Int(parts[1]), (1...1_000_000).contains(count) else { break }
      return VMSpec.Restart(policy: .onFailure, max: count)
    default: break
    }
    throw EngineError(
      .invalidArgument, "--restart \(text) is no policy", advice: "write no, on-failure[:N], always or unless-stopped")
  }
}
