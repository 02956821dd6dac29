internal import ArgumentParser
internal import Glibc
internal import IgniteEngine
internal import IgniteSystem

/// Docker's question before something is taken away.
enum Confirmation {
  /// Asks on the terminal; true when the answer is yes.
  ///
  /// - Throws: EngineError where there is no terminal to ask on.
  static func ask(_ warning: String, flag: String) async throws -> Bool {
    guard Terminal.isTerminal(0) else {
      throw EngineError(
        .invalidArgument, "this removes things, and standard input is no terminal to ask on",
        advice: "give \(flag) to go ahead, or --dry-run to see what would go")
    }
    FileHandleOutput.standardError.write("WARNING! \(warning)\nAre you sure you want to continue? [y/N] ")
    // A thread that reads cannot be interrupted, so it reads when there is something.
    while await ThreadExecutor.run({ !isReady() }) { try Task.checkCancellation() }
    let answer = await ThreadExecutor.run { readLine() }?.lowercased() ?? ""
    return answer == "y" || answer == "yes"
  }

  /// Whether standard input has something to read, or has ended; waits for it a moment.
  private static func isReady() -> Bool {
    var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    return poll(&input, 1, 100) > 0
  }
}

/// What `image prune` and `system prune` have in common.
struct PruneOptions: ParsableArguments {
  @Flag(
    name: [.customShort("a"), .customLong("all")],
    help: "Images that no VM uses too, and what failed imports left just now.")
  var all = false

  @Flag(name: .customLong("dry-run"), help: "Only list what would be removed.")
  var dryRun = false

  @Flag(name: [.customShort("f"), .customLong("force")], help: "Do not ask.")
  var force = false

  @Option(
    name: .customLong("filter"), parsing: .singleValue,
    help: ArgumentHelp("Only what fits: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE].", valueName: "filter"))
  var filters: [String] = []

  func request() throws -> PruneRequest {
    var request = try Self.request(filters: filters)
    request.all = all
    request.dryRun = dryRun
    return request
  }

  static func request(filters: [String]) throws -> PruneRequest {
    var request = PruneRequest()
    for filter in filters {
      let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
      switch (parts.first ?? "", parts.count) {
      case ("until", 2): request.until = try ImageFilter.moment(parts[1])
      case ("label", 2): request.labels.append(PruneRequest.Label(parts[1], isExcluded: false))
      case ("label!", 2): request.labels.append(PruneRequest.Label(parts[1], isExcluded: true))
      default:
        throw EngineError(
          .invalidArgument, "--filter \(filter) is not possible",
          advice: "write until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]")
      }
    }
    return request
  }
}
