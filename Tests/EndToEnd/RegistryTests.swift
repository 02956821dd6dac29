import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Registries from the outside: logging in, pushing, what is said of what goes wrong.
@Suite(.timeLimit(.minutes(5))) struct Registries {
  @Test func anImageIsPushedWhereOneHasLoggedIn() async throws {
    try await Ignite.with { ignite in
      let registry = try await Registry.start(in: ignite.folder + "/registry", user: "me", password: "pass word")
      let name = "\(registry.address)/team/copy:1"
      let file = ["REGISTRY_AUTH_FILE": ignite.folder + "/auth.json"]
      let stranger = try await ignite("image", "push", Ignite.image, name, extra: file)
      #expect(stranger.status == 1)
      #expect(stranger.errorText.contains("ignite login \(registry.address)"))
      let wrong = try await ignite(
        "login", "-u", "me", "--password-stdin", registry.address, input: Array("guess\n".utf8), extra: file)
      #expect(wrong.status == 1)
      #expect(wrong.errorText.contains("refuses the user name or the password") && !wrong.errorText.contains("guess"))
      #expect(!FileManager.default.fileExists(atPath: ignite.folder + "/auth.json"))
      let login = try await ignite(
        "login", "-u", "me", "--password-stdin", registry.address, input: Array("pass word\n".utf8), extra: file)
      #expect(login.status == 0, "\(login.errorText)")
      #expect(login.text == "")
      var status = stat()
      #expect(stat(ignite.folder + "/auth.json", &status) == 0 && status.st_mode & 0o777 == 0o600)

      let push = try await ignite("image", "push", Ignite.image, name, extra: file)
      #expect(push.status == 0, "\(push.errorText)")
      let pushed = push.text.trimmingSuffix()
      #expect(pushed.hasPrefix("\(name)@sha256:"))
      let raw = try await Ignite.run([
        "skopeo", "inspect", "--tls-verify=false", "--creds", "me:pass word", "--format", "{{.Digest}}",
        "docker://\(name)",
      ])
      #expect(pushed.hasSuffix(raw.text.trimmingSuffix()))
      let pull = try await ignite("image", "import", "--pull", "always", name, extra: file)
      #expect(pull.text.trimmingSuffix() == pushed)

      let logout = try await ignite("logout", registry.address, extra: file)
      #expect(logout.status == 0)
      let twice = try await ignite("logout", registry.address, extra: file)
      #expect(twice.status == 1)
      let again = try await ignite("image", "import", "--pull", "always", name, extra: file)
      #expect(again.status == 1)
      await registry.end()
    }
  }

  @Test func passwordsAreNotAskedForWithoutATerminal() async throws {
    try await Ignite.with { ignite in
      let asked = try await ignite("login", "127.0.0.1:1")
      #expect(asked.status == 1)
      #expect(asked.errorText.contains("--password-stdin"))
      let unnamed = try await ignite("login", "--password-stdin", "127.0.0.1:1", input: Array("x".utf8))
      #expect(unnamed.status == 1)
      #expect(unnamed.errorText.contains("-u USER"))
    }
  }

  /// What is typed is not shown, and the terminal is as before.
  @Test func aTerminalIsAskedForThePassword() async throws {
    try await Ignite.with { ignite in
      let registry = try await Registry.start(in: ignite.folder + "/registry", user: "me", password: "pass word")
      let terminal = try Pseudoterminal(rows: 24, columns: 200)
      var program = ignite.command(["login", "-u", "me", registry.address])
      program.environment["REGISTRY_AUTH_FILE"] = ignite.folder + "/auth.json"
      let process = try terminal.launch(program)
      let asked = try await terminal.read(until: "Password of me for \(registry.address): ")
      terminal.write("pass word\n")
      let answered = try await terminal.read(until: "kept in")
      #expect(!(asked + answered).contains("pass word"))
      #expect(answered.contains("logged in to \(registry.address)"))
      #expect(await process.ended() == 0)
      #expect(FileManager.default.fileExists(atPath: ignite.folder + "/auth.json"))
      await registry.end()
    }
  }

  @Test func otherPlatformsAreRefusedByName() async throws {
    try await Ignite.with { ignite in
      let run = try await ignite("run", "--platform", "linux/arm64", Ignite.image, "true")
      #expect(run.status == 125)
      #expect(run.errorText.contains("linux/arm64"))
      let spelled = try await ignite("run", "--platform", "linux", Ignite.image, "true")
      #expect(spelled.status == 125)
      #expect(spelled.errorText.contains("os/architecture"))
      let fitting = try await ignite("run", "--rm", "--platform", "linux/amd64", Ignite.image, "echo", "here")
      #expect(fitting.text == "here\n", "\(fitting.errorText)")
    }
  }
}
