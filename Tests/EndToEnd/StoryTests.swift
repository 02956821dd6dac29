import FoundationEssentials
import Glibc
import Testing

/// Pages whose commands are run as they stand.
@Suite(.timeLimit(.minutes(10))) struct Stories {
  private enum Part {
    case file(name: String, text: String)
    case commands(String)
    /// Lines that the commands before have printed, in that order; words that follow one another, whatever is between lines.
    case output([String])
  }

  /// The blocks of code of a page: files that a comment names, commands, and what they print.
  private func parts(_ page: String) throws -> [Part] {
    let path = "\(Ignite.root)/docs/\(page)"
    var (parts, block, language, file) = ([Part](), [String](), String?.none, String?.none)
    for line in try String(contentsOfFile: path, encoding: .utf8).split(
      separator: "\n", omittingEmptySubsequences: false)
    {
      guard let open = language else {
        if line.hasPrefix("```") {
          language = String(line.dropFirst(3))
        } else if line.hasPrefix("<!-- file: ") {
          file = String(line.dropFirst(11).dropLast(4))
        }
        continue
      }
      guard line.hasPrefix("```") else {
        block.append(String(line))
        continue
      }
      let text = block.joined(separator: "\n") + "\n"
      if let name = file {
        parts.append(.file(name: name, text: text))
      } else if open == "sh" {
        parts.append(.commands(text))
      } else if open == "text" {
        parts.append(.output(block))
      }
      (block, language, file) = ([], nil, nil)
    }
    return parts
  }

  private func words(_ line: some StringProtocol) -> String { line.split(separator: " ").joined(separator: " ") }

  @Test(arguments: ["declarative.md", "gitops.md"]) func thePageIsRun(_ page: String) async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("image", "tag", Ignite.image, "busybox")
      let folder = ignite.folder + "/story"
      for path in [folder, folder + "/bin"] where mkdir(path, 0o755) != 0 { Issue.record("make \(path)") }
      for name in ["ignite", "ignited"] { symlink(Ignite.program, "\(folder)/bin/\(name)") }
      var printed = ""
      var ran = 0
      for part in try parts(page) {
        switch part {
        case .file(let name, let text): try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
        case .commands(let text):
          var program = ignite.command([])
          program.environment["PATH"] = "\(folder)/bin:\(program.environment["PATH"] ?? "/usr/bin:/bin")"
          // Whoever reads the page has told git who he is.
          for who in ["AUTHOR", "COMMITTER"] {
            program.environment["GIT_\(who)_NAME"] = "Ann"
            program.environment["GIT_\(who)_EMAIL"] = "ann@example.org"
          }
          program.arguments = ["/bin/bash", "-euo", "pipefail", "-c", "cd \(folder); exec 2>&1\n\(text)"]
          let result = try await program.run()
          printed = result.text
          ran += 1
          #expect(result.status == 0, "\(text): \(printed)")
          guard result.status == 0 else { return }
        case .output(let lines):
          var rest = printed.split(separator: "\n").map { words($0) }[...]
          for line in lines where !line.isEmpty {
            guard let place = rest.firstIndex(where: { $0.contains(words(line)) }) else {
              Issue.record("not printed, or not in this order: \(line)\n\(printed)")
              break
            }
            rest = rest[(place + 1)...]
          }
        }
      }
      #expect(ran > 6)
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }
}
