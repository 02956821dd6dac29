import ArgumentParser
import Foundation
import Testing

@testable import ignite

/// Every command's help, as it was when somebody last looked at it: a change is seen in the review.
///
/// After a wanted change: `IGNITE_UPDATE_HELP=1 swift test --filter HelpTexts`.
@Suite struct HelpTexts {
  private static let folder = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Golden/help"
  private static let updates = ProcessInfo.processInfo.environment["IGNITE_UPDATE_HELP"] == "1"

  /// All commands with the words that lead to them.
  private static func commands(
    _ type: any ParsableCommand.Type, _ path: [String]
  ) -> [(path: [String], type: any ParsableCommand.Type)] {
    let configuration = type.configuration
    let below = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
    return [(path, type)]
      + below.flatMap { commands($0, path + [$0._commandName]) }
  }

  @Test func allAreAsTheyWere() throws {
    let commands = Self.commands(Ignite.self, ["ignite"]) + Self.commands(Ignited.self, ["ignited"])
    #expect(commands.count > 25)
    var names: Set<String> = []
    for (path, type) in commands {
      let name = path.joined(separator: "-") + ".txt"
      names.insert(name)
      let file = "\(Self.folder)/\(name)"
      let help =
        (path[0] == "ignited"
          ? Ignited.helpMessage(for: type, columns: 100) : Ignite.helpMessage(for: type, columns: 100)) + "\n"
      if Self.updates {
        try FileManager.default.createDirectory(atPath: Self.folder, withIntermediateDirectories: true)
        try help.write(toFile: file, atomically: true, encoding: .utf8)
        continue
      }
      let golden = try? String(contentsOfFile: file, encoding: .utf8)
      #expect(
        golden == help, "\(path.joined(separator: " ")): if that is meant, IGNITE_UPDATE_HELP=1 writes \(name) anew")
    }
    // A command that is gone leaves no file behind.
    for name in try FileManager.default.contentsOfDirectory(atPath: Self.folder) where !names.contains(name) {
      if Self.updates {
        try FileManager.default.removeItem(atPath: "\(Self.folder)/\(name)")
      } else {
        Issue.record("\(name) is of no command")
      }
    }
  }
}

@Suite struct Templates {
  @Test func fieldsAndEscapes() throws {
    let template = try Template("{{.Repository}}:{{ .Tag }}\\t{{.ID}}", fields: ["Repository", "Tag", "ID"])
    #expect(template.render([["Repository": "a", "Tag": "1", "ID": "x"], ["Tag": "2"]]) == "a:1\tx\n:2\t\n")
  }

  @Test func tables() throws {
    let template = try Template("table {{.ID}}\\t{{.CreatedAt}}", fields: ["ID", "CreatedAt"])
    #expect(template.render([["ID": "x", "CreatedAt": "now"]]) == "IMAGE ID   CREATED AT\nx          now\n")
  }

  @Test(arguments: ["{{.Nothing}}", "{{.ID", "{{ID}}", "{{json .}}"])
  func whatIsNotUnderstood(_ text: String) {
    #expect(throws: (any Error).self) { try Template(text, fields: ["ID"]) }
  }
}
