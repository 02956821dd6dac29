import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Completion in real shells, with the names that there are at that moment.
@Suite(.timeLimit(.minutes(5))) struct Completions {
  private enum Shell: String, CaseIterable {
    case bash, zsh, fish
  }

  /// The shell's command that makes a session in which the completion is loaded, and what is typed is completed by TAB.
  private func complete(_ ignite: Ignite, _ shell: Shell, _ line: String) async throws -> String {
    let script = ignite.folder + "/completion.\(shell.rawValue)"
    let text = try await ignite.succeed("completion", shell.rawValue)
    try text.write(toFile: script, atomically: true, encoding: .utf8)
    var program = ignite.command([])
    // The script calls the program by its name.
    let bin = ignite.folder + "/bin"
    try await Ignite.run(["sh", "-c", "mkdir -p \(bin); ln -sf \(Ignite.program) \(bin)/ignite"])
    program.environment["PATH"] = "\(bin):" + (program.environment["PATH"] ?? "/usr/bin:/bin")
    program.environment["HOME"] = ignite.folder
    if shell == .fish {
      program.arguments = [
        "fish", "--no-config", "-c", "source \(script); complete -C '\(line)'",
      ].withAbsoluteFirst()
      let result = try await program.run()
      #expect(result.status == 0, "\(result.errorText)")
      return result.text
    }
    program.environment["TERM"] = "xterm"
    program.arguments = (shell == .bash ? ["bash", "--norc", "--noprofile", "-i"] : ["zsh", "-f", "-i"])
      .withAbsoluteFirst()
    let terminal = try Pseudoterminal(rows: 50, columns: 200)
    let session = try terminal.launch(program)
    let load =
      shell == .bash
      ? "bind 'set enable-bracketed-paste off'; PS1=; source \(script); echo rea''dy\n"
      : "unsetopt zle_bracketed_paste 2>/dev/null; PS1=; PROMPT_EOL_MARK=; autoload -U compinit; compinit -u -D; source \(script); compdef _ignite ignite; setopt no_always_last_prompt; echo rea''dy\n"
    terminal.write(load)
    _ = try await terminal.read(until: "ready\r\n")
    // The word is completed, and the finished line printed in place of being run.
    terminal.write("\(line)\t\u{1}echo '<' \u{5} '>' | tr -d '\\\\'\n")
    let shown = try await terminal.read(until: " >\r\n")
    terminal.write("exit\n")
    _ = await session.ended()
    return shown
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func liveNames(shell name: String) async throws {
    let shell = try #require(Shell(rawValue: name))
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "upper")
      _ = try await ignite.succeed("create", "--name", "lower", Ignite.image)
      _ = try await ignite.sleeper("--name", "halted")
      _ = try await ignite.succeed("pause", "halted")
      let kernel = try await ignite.succeed("kernel", "ls", "-q")
      for (line, expected, unwanted) in [
        ("ignite pause ", "upper", "halted"), ("ignite unpause ", "halted", "upper"),
        ("ignite stop u", "upper", "lower"), ("ignite exec ", "upper", "lower"), ("ignite start ", "lower", "upper"),
        ("ignite rm lo", "lower", "upper"), ("ignite image history ", Ignite.image, "upper"),
        ("ignite run ", Ignite.image, "upper"),
        ("ignite image history localhost/test:la", Ignite.image, "upper"),
        ("ignite kernel inspect ", kernel, "upper"), ("ignite ima", "image", "upper"),
        ("ignite get vms --field-selector status.ph", "status.phase=", "upper"),
      ] {
        let shown = try await complete(ignite, shell, line)
        #expect(shown.contains(expected), "\(line): \(shown.debugDescription)")
        #expect(!shown.contains(unwanted), "\(line): \(shown.debugDescription)")
      }
    }
  }

  /// A look for names makes nothing, and says nothing where there is nothing.
  @Test func nothingIsMadeByCompletion() async throws {
    try await Ignite.withEmpty { ignite in
      let result = try await ignite(
        "---completion", "image", "rm", "--", "positional@0", "3", "0", "ignite", "image", "rm", "")
      #expect(result.status == 0, "\(result.errorText)")
      #expect(result.text.trimmingSuffix() == "")
      #expect(!FileManager.default.fileExists(atPath: ignite.data))
      let unknown = try await ignite("completion", "csh")
      #expect(unknown.status == 1)
      #expect(unknown.errorText.contains("bash, zsh or fish"))
    }
  }
}
