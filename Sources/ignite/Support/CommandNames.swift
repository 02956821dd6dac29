internal import ArgumentParser
internal import IgniteSystem

/// A word in a command's place that names none.
struct NoSuchCommand: UserFacingError {
  let message: String
  let advice: String?
  let cause: (any Error)? = nil
}

/// The names of commands, looked at before all else: the parser would take a misspelt one for an argument.
enum CommandNames {
  /// Docker's and Weave Ignite's names for what has another one here.
  private static let others = [
    "images": "image ls", "pull": "image import", "load": "image import", "import": "image import",
    "push": "image push",
    "save": "image save", "rmi": "image rm", "tag": "image tag", "history": "image history", "info": "doctor",
    "ssh": "exec -it VM sh", "vm": "ps", "kernels": "kernel ls", "volumes": "volume ls", "prune": "system prune",
  ]

  /// - Throws: NoSuchCommand.
  static func check(_ arguments: [String], in command: any ParsableCommand.Type = Ignite.self, path: String = "ignite")
    throws(NoSuchCommand)
  {
    let commands = command.configuration.subcommands
    guard !commands.isEmpty, let word = arguments.first, !word.hasPrefix("-"), word != "help" else { return }
    for next in commands where names(next).contains(word) {
      return try check(Array(arguments.dropFirst()), in: next, path: "\(path) \(word)")
    }
    if path == "ignite", let name = others[word] {
      throw NoSuchCommand(message: "ignite has no command \"\(word)\"", advice: "what does it is `ignite \(name)`")
    }
    let near = EditDistance.nearest(to: word, in: commands.flatMap(names))
    throw NoSuchCommand(
      message: "\(path) has no command \"\(word)\"",
      advice: near.map { "did you mean `\(path) \($0)`?" } ?? "they are listed by `\(path) --help`")
  }

  private static func names(_ command: any ParsableCommand.Type) -> [String] {
    [command.configuration.commandName ?? ""] + command.configuration.aliases
  }
}
