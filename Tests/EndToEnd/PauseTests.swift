import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// pause and unpause.
@Suite(.timeLimit(.minutes(10))) struct Pause {
  @Test func aPausedVMIsToldAndRefusesWhatNeedsItsGuest() async throws {
    try await Ignite.with { ignite in
      let script = "echo before; read line; echo after $line"
      let running = try ignite.start("run", "-i", "--name", "one", Ignite.image, "sh", "-c", script)
      #expect(try await running.readOutput(until: "before\n") == "before\n")
      #expect(try await ignite.succeed("pause", "one") == "one")
      let paused = try await ignite.vm("one")
      #expect(paused.phase == "Paused")
      #expect(try await ignite.succeed("inspect", "one").contains("\"state\" : \"Paused\""))
      #expect(try await ignite.succeed("ps").contains(" (Paused)"))
      #expect(try await ignite.succeed("ps", "-q", "--no-trunc", "--filter", "status=paused") == paused.uid)
      #expect(try await ignite.succeed("ps", "-q", "--filter", "status=running") == "")
      #expect(try await ignite("ps", "--filter", "status=odd").status == 1)
      #expect(try await ignite.succeed("logs", "one") == "before")

      for (status, command) in [
        (125, ["exec", "one", "true"]), (1, ["top", "one"]), (1, ["cp", "one:/etc/passwd", ignite.folder + "/copy"]),
        (1, ["kill", "-s", "TERM", "one"]), (1, ["start", "one"]), (1, ["pause", "one"]),
      ] as [(Int32, [String])] {
        let refused = try await ignite(command)
        #expect(refused.status == status, "\(command)")
        #expect(refused.errorText.contains("is paused"), "\(command): \(refused.errorText)")
        #expect(refused.errorText.contains("ignite unpause one"), "\(command): \(refused.errorText)")
      }
      let removed = try await ignite("rm", "one")
      #expect(removed.status == 1)
      #expect(removed.errorText.contains("is paused"))

      // What is typed meanwhile is kept.
      #expect(write(running.input.number, "kept\n", 5) == 5)
      let followed = try ignite.start("logs", "-f", "one")
      #expect(try await followed.readOutput(until: "before\n") == "before\n")
      #expect(try await ignite.succeed("unpause", "one") == "one")
      #expect(try await running.readOutput(until: "after kept\n") == "after kept\n")
      #expect(await running.ended() == 0)
      #expect(try await followed.readOutput(until: "after kept\n") == "after kept\n")
      #expect(await followed.ended() == 0)
      #expect(try await ignite.vm("one").phase == "Stopped")
      for command in ["pause", "unpause"] {
        let refused = try await ignite(command, "one")
        #expect(refused.status == 1)
        #expect(refused.errorText.contains("ignite start one"), "\(refused.errorText)")
      }
    }
  }

  /// The guest's clock is the host's again when `unpause` returns, and its hypervisor has taken no time meanwhile.
  @Test func theClockIsRightAndNoTimeWasTaken() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let uptime = try #require(Double(try await ignite.guest("one", "cut -d ' ' -f 1 /proc/uptime")))
      #expect(try await ignite.succeed("pause", "one") == "one")
      let began = ContinuousClock.now
      let hypervisor = try #require(try await ignite.vm("one").hypervisor)
      let first = try Self.ticks(of: hypervisor)
      // The host goes on working until enough time has gone by.
      while ContinuousClock.now - began < .seconds(4) { _ = try await ignite.succeed("ps") }
      // Answering the monitor and waiting take no time that could be counted: a tick is 10 ms.
      #expect(try Self.ticks(of: hypervisor) - first <= 1)
      let pausedFor = began.duration(to: .now)
      #expect(try await ignite.succeed("unpause", "one") == "one")
      let before = Date().timeIntervalSince1970
      let guest = try #require(Double(try await ignite.guest("one", "date +%s")))
      let after = Date().timeIntervalSince1970
      // `date` tells whole seconds. A clock that had stood still would be four behind.
      #expect(guest >= before.rounded(.down) - 1 && guest <= after + 1, "\(before) \(guest) \(after)")
      #expect(pausedFor >= .seconds(4))
      // The clock of the boot stood still.
      let later = try #require(Double(try await ignite.guest("one", "cut -d ' ' -f 1 /proc/uptime")))
      #expect(later >= uptime)
    }
  }

  @Test func aPausedVMIsEnded() async throws {
    try await Ignite.with { ignite in
      // Its program writes in answer to the signal: it went on before it was stopped.
      let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
      _ = try await ignite.succeed("run", "-d", "--name", "one", Ignite.image, "sh", "-c", script)
      let following = try ignite.start("logs", "-f", "one")
      #expect(try await following.readOutput(until: "ready\n") == "ready\n")
      _ = try await ignite.succeed("pause", "one")
      #expect(try await ignite.succeed("stop", "-t", "60", "one") == "one")
      #expect(try await ignite.succeed("logs", "one") == "ready\nbye")
      #expect(try await ignite.vm("one").status.exitCode == 7)
      #expect(await following.ended() == 0)

      _ = try await ignite.succeed("start", "one")
      _ = try await ignite.succeed("pause", "one")
      let waiting = try ignite.start("wait", "one")
      #expect(try await ignite.succeed("kill", "one") == "one")
      #expect(String(decoding: try await waiting.readOutput(), as: UTF8.self) == "137\n")
      #expect(await waiting.ended() == 0)

      _ = try await ignite.succeed("start", "one")
      _ = try await ignite.succeed("pause", "one")
      #expect(try await ignite.succeed("restart", "-t", "60", "one") == "one")
      #expect(try await ignite.vm("one").phase == "Running")
      _ = try await ignite.succeed("pause", "one")
      let hypervisor = try #require(try await ignite.vm("one").hypervisor)
      #expect(try await ignite.succeed("rm", "-f", "one") == "one")
      #expect(hasEnded(hypervisor))
    }
  }

  /// A paused VM whose supervisor is lost gets another one, and stands still, however often it was paused.
  @Test func aLostSupervisorIsReplaced() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      for _ in 0..<3 {
        _ = try await ignite.succeed("pause", "one")
        _ = try await ignite.succeed("unpause", "one")
      }
      _ = try await ignite.succeed("pause", "one")
      let vm = try await ignite.vm("one")
      let supervisor = try #require(vm.supervisor)
      let hypervisor = try #require(vm.hypervisor)
      #expect(Glibc.kill(supervisor, SIGKILL) == 0)
      while !hasEnded(supervisor) { try Task.checkCancellation() }
      let seen = try await ignite.vm("one")
      #expect(seen.phase == "Paused" && seen.hypervisor == hypervisor && seen.supervisor != supervisor)
      try await ignite.succeed("unpause", "one")
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
      try await ignite.succeed("rm", "-f", "one")
      #expect(hasEnded(hypervisor))
    }
  }

  @Test func fiveAtOnce() async throws {
    try await Ignite.with { ignite in
      let names = (1...5).map { "vm\($0)" }
      for name in names { _ = try await ignite.sleeper("--name", name, "-m", "128m") }
      try await withThrowingTaskGroup(of: String.self) { group in
        for name in names { group.addTask { try await ignite.succeed("pause", name) } }
        var said: [String] = []
        for try await name in group { said.append(name) }
        #expect(said.sorted() == names)
      }
      #expect(try await ignite.vms().allSatisfy { $0.phase == "Paused" })
      // One that is not there, and one that is paused twice, keep no other from going on.
      let some = try await ignite(["unpause", "nobody", "vm1", "vm1", "vm2"])
      #expect(some.status == 1)
      #expect(some.text == "vm1\nvm2\n")
      #expect(some.errorText.contains("nobody") && some.errorText.contains("is not paused"))
      #expect(try await ignite(["unpause"] + names.suffix(3)).text == "vm3\nvm4\nvm5\n")
      for name in names { #expect(try await ignite.succeed("exec", name, "echo", name) == name) }
    }
  }

  /// Processor time of a process and its threads, in ticks: proc(5), fields 14 and 15.
  private static func ticks(of pid: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    let fields = text[text.index(after: text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
  }
}

extension Ignite {
  /// What a command of the guest's shell prints.
  fileprivate func guest(_ name: String, _ script: String) async throws -> String {
    try await succeed("exec", name, "sh", "-c", script)
  }
}
