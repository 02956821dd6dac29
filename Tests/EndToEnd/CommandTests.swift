import Glibc
import IgniteSystem
import Testing

/// restart, rename, port and top.
@Suite(.timeLimit(.minutes(5))) struct Commands {
  @Test func aRestartKeepsTheDisk() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      _ = try await ignite.sleeper("--name", "two")
      _ = try await ignite.succeed("exec", "one", "sh", "-c", "echo kept > /kept; sync")
      _ = try await ignite.succeed("stop", "-t", "0", "two")
      // One that runs, and one that does not.
      #expect(try await ignite.succeed("restart", "-t", "1", "one", "two") == "one\ntwo")
      #expect(try await ignite.succeed("exec", "one", "cat", "/kept") == "kept")
      #expect(try await ignite.vm("two").phase == "Running")
      let missing = try await ignite("restart", "one", "nobody")
      #expect(missing.status == 1)
      #expect(missing.text == "one\n")
      #expect(missing.errorText.contains("nobody"))
      #expect(try await ignite("restart", "-t", "x", "one").status == 1)
    }
  }

  @Test func aRenamedVMIsFoundByItsNewName() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper("--name", "one")
      _ = try await ignite.succeed("create", "--name", "taken", Ignite.image)
      #expect(try await ignite.succeed("rename", "one", "web") == "")
      #expect(try await ignite.vm("web").uid == uid)
      #expect(try await ignite("inspect", "one").status == 1)
      // It runs on, and answers under the new name.
      #expect(try await ignite.succeed("exec", "web", "hostname") == String(uid.prefix(12)))
      for (name, word) in [("taken", "ignite rm taken"), ("BAD", "lower-case"), ("web", "already")] {
        let refused = try await ignite("rename", String(uid.prefix(8)), name)
        #expect(refused.status == 1)
        #expect(refused.errorText.contains(word), "\(refused.errorText)")
      }
      #expect(try await ignite.succeed("stop", "-t", "0", "web") == "web")
    }
  }

  @Test func publishedPortsAreTold() async throws {
    try await Ignite.with { ignite in
      let port = try LoopbackServer.freePort()
      _ = try await ignite.sleeper("--name", "one", "-p", "127.0.0.1:\(port):80", "-p", "127.0.0.1:\(port):53/udp")
      #expect(
        try await ignite.succeed("port", "one") == "80/tcp -> 127.0.0.1:\(port)\n53/udp -> 127.0.0.1:\(port)")
      #expect(try await ignite.succeed("port", "one", "80") == "127.0.0.1:\(port)")
      #expect(try await ignite.succeed("port", "one", "53/udp") == "127.0.0.1:\(port)")
      let missing = try await ignite("port", "one", "53")
      #expect(missing.status == 1)
      #expect(missing.errorText.contains("53/tcp"))
      #expect(try await ignite("port", "one", "much").status == 1)
      _ = try await ignite.succeed("stop", "-t", "0", "one")
      #expect(try await ignite.succeed("port", "one") == "")
    }
  }

  @Test func processesAreListedWithoutPs() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one", "-u", "alice")
      let running = try ignite.start("exec", "-t", "-u", "4000", "one", "sh", "-c", "echo ready; sleep 3600")
      #expect(try await running.readOutput(until: "ready").hasSuffix("ready"))
      let lines = try await ignite.succeed("top", "one").split(separator: "\n").map {
        $0.split(separator: " ").map(String.init)
      }
      #expect(lines[0] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
      let main = try #require(lines.first { $0[7...] == ["sleep", "3600"] && $0[0] == "alice" })
      #expect(main[2] == "1" && main[5] == "?" && main[6].hasPrefix("00:00:0"))
      #expect(main[4].contains(":"))
      let other = try #require(lines.first { $0[0] == "4000" })
      #expect(other[5] == "pts/0")
      // Neither the kernel's threads nor the agent.
      #expect(!lines.contains { $0[1] == "1" || $0[1] == "2" })
      try running.signal(SIGKILL)
      _ = await running.ended()
      #expect(try await ignite("top", "one", "-ef").status == 0)
      let refused = try await ignite("top", "one", "aux")
      #expect(refused.status == 1)
      #expect(refused.errorText.contains("aux"))
      _ = try await ignite.succeed("stop", "-t", "0", "one")
      let stopped = try await ignite("top", "one")
      #expect(stopped.status == 1)
      #expect(stopped.errorText.contains("ignite start one"))
    }
  }
}
