import FoundationEssentials
import Glibc
import Testing

/// Joining a running program, leaving it, waiting for it, and looking at what it wrote.
@Suite(.timeLimit(.minutes(10))) struct Joining {
  @Test func attachJoinsAndLeaves() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("run", "-dit", "--name", "one", Ignite.image, "sh")
      let terminal = try Pseudoterminal(rows: 30, columns: 90)
      let process = try terminal.launch(ignite.command(["attach", "one"]))
      terminal.write("stty size; echo $((20 + 3))\r")
      _ = try await terminal.read(until: "\n23")
      // ctrl-p alone is the shell's, ctrl-p ctrl-q leaves.
      terminal.write("\u{10}\u{11}")
      #expect(await process.ended() == 0)
      #expect(try await ignite.vm("one").phase == "Running")
      let again = try Pseudoterminal(rows: 30, columns: 90)
      let second = try again.launch(ignite.command(["attach", "--detach-keys", "ctrl-x,x", "one"]))
      again.write("echo $((30 + 4))\r")
      _ = try await again.read(until: "\n34")
      again.write("exit 9\r")
      #expect(await second.ended() == 9)
      #expect(try await ignite.succeed("wait", "one") == "9")
      let stopped = try await ignite("attach", "one")
      #expect(stopped.status == 1 && stopped.errorText.contains("ignite start one"), "\(stopped.errorText)")
      let wrong = try await ignite("attach", "--detach-keys", "ctrl-", "one")
      #expect(wrong.status == 1 && wrong.errorText.contains("are no keys"), "\(wrong.errorText)")
    }
  }

  @Test func attachWithoutATerminal() async throws {
    try await Ignite.with { ignite in
      let script = "trap 'echo told; exit 6' TERM; while true; do echo tick; sleep 0.2; done"
      try await ignite.succeed("run", "-d", "--name", "one", Ignite.image, "sh", "-c", script)
      let left = try ignite.start("attach", "--sig-proxy=false", "one")
      _ = try await left.readOutput(until: "tick\n")
      try left.signal(SIGTERM)
      #expect(await left.ended() != 0)
      #expect(try await ignite.vm("one").phase == "Running")
      let joined = try ignite.start("attach", "one")
      _ = try await joined.readOutput(until: "tick\n")
      try joined.signal(SIGTERM)
      #expect(try await joined.readOutput(until: "told\n").hasSuffix("told\n"))
      #expect(await joined.ended() == 6)
    }
  }

  @Test func aDetachedExecGoesOn() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let script = "for i in $(seq 1000); do head -c 1000 /dev/zero; done; sleep 0.3; echo done > /done; sleep 3600"
      let result = try await ignite("exec", "-d", "-e", "A=b", "one", "sh", "-c", script)
      #expect(result.status == 0 && result.text.isEmpty && result.errorText.isEmpty)
      let seen = "until [ -e /done ]; do usleep 50000; done; ps | grep -c '[s]leep 3600'"
      #expect(try await ignite.succeed("exec", "one", "sh", "-c", seen) == "2")
      #expect(try await ignite("exec", "-d", "one", "not-there").status == 127)
      #expect(try await ignite("exec", "-d", "-i", "one", "cat").status == 125)
    }
  }

  @Test func waitingForWhatever() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed(
        "create", "--name", "one", "--health-cmd", "test -e /well", "--health-interval", "200ms", Ignite.image, "sleep",
        "3600")
      let running = try ignite.start("wait", "--condition", "running", "one")
      let healthy = try ignite.start("wait", "--condition", "healthy", "one")
      let removed = try ignite.start("wait", "--condition", "removed", "one")
      try await ignite.succeed("start", "one")
      #expect(try await running.readOutput(until: "one\n") == "one\n")
      try await ignite.succeed("exec", "one", "touch", "/well")
      #expect(try await healthy.readOutput(until: "one\n") == "one\n")
      let unknown = try await ignite("wait", "--condition", "happy", "one")
      #expect(unknown.status == 1 && unknown.errorText.contains("stopped, running, healthy, removed"))
      try await ignite.succeed("rm", "-f", "one")
      #expect(try await removed.readOutput(until: "one\n") == "one\n")
      try await ignite.succeed("run", "--name", "two", Ignite.image, "true")
      let over = try await ignite("wait", "--condition", "running", "two")
      #expect(over.status == 1 && over.errorText.contains("has ended before it was running"), "\(over.errorText)")
    }
  }

  @Test func logsByTimeAndTheConsole() async throws {
    try await Ignite.with { ignite in
      let script = "echo first; sleep 2; echo second >&2; echo third"
      try await ignite.succeed("run", "--name", "one", "--cold", Ignite.image, "sh", "-c", script)
      let stamped = try await ignite("logs", "-t", "one")
      let lines = stamped.text.split(separator: "\n").map(String.init)
      #expect(lines.count == 2 && lines[0].hasSuffix(" first") && lines[1].hasSuffix(" third"))
      let time = try #require(lines.last?.split(separator: " ").first.map(String.init))
      #expect(time.hasSuffix("Z") && time.contains("."))
      #expect(try await ignite.succeed("logs", "--since", time, "one") == "third")
      #expect(try await ignite("logs", "--until", time, "one").text == "first\n")
      #expect(try await ignite.succeed("logs", "--since", "1h", "-n", "1", "one") == "third")
      #expect(try await ignite.succeed("logs", "--until", "1h", "one") == "")
      let console = try await ignite.succeed("logs", "--console", "one")
      #expect(console.contains("main ended with status 0"), "\(console)")
      #expect(try await ignite.succeed("logs", "--console", "-n", "1", "one").contains("\n") == false)
      for options in [["--since", "soon"], ["--console", "-t"]] {
        #expect(try await ignite(["logs"] + options + ["one"]).status == 1)
      }
    }
  }
}
