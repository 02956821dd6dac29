import FoundationEssentials
import Glibc
import Testing

/// What follows a process's end, by the VM's restart policy.
@Suite(.timeLimit(.minutes(10))) struct RestartPolicies {
  /// Waits until the VM is as `isDone` wants it.
  @discardableResult
  private func await(_ name: String, _ ignite: Ignite, _ isDone: (VMView) -> Bool) async throws -> VMView {
    while true {
      let vm = try await ignite.vm(name)
      if isDone(vm) { return vm }
      try Task.checkCancellation()
    }
  }

  @Test func onFailureTriesSoOften() async throws {
    try await Ignite.with { ignite in
      let script = "echo run $(cat /count); echo x >> /count; exit 3"
      try await ignite.succeed(
        "run", "-d", "--name", "one", "--restart", "on-failure:2", Ignite.image, "sh", "-c", script)
      #expect(try await ignite.succeed("wait", "one") == "3")
      let vm = try await ignite.vm("one")
      #expect(vm.phase == "Stopped" && vm.exitCode == 3 && vm.status.restarts == 2)
      // Its disk stays from start to start.
      #expect(
        try await ignite.succeed("logs", "one").split(separator: "\n").map(String.init) == ["run", "run x", "run x x"])
      #expect(vm.template != nil)
      try await ignite.succeed("run", "-d", "--name", "two", "--restart", "on-failure", Ignite.image, "true")
      #expect(try await ignite.succeed("wait", "two") == "0")
      #expect(try await ignite.vm("two").status.restarts == 0)
    }
  }

  @Test func alwaysIsUntilItIsStopped() async throws {
    try await Ignite.with { ignite in
      for policy in ["always", "unless-stopped"] {
        try await ignite.succeed(
          "run", "-d", "--name", policy, "--restart", policy, Ignite.image, "sh", "-c", "sleep 0.1")
      }
      for policy in ["always", "unless-stopped"] {
        try await self.await(policy, ignite) { $0.status.restarts >= 2 }
        try await self.await(policy, ignite) { $0.phase == "Restarting" }
        #expect(try await ignite("exec", policy, "true").status == 125)
        try await ignite.succeed("stop", "-t", "1", policy)
        #expect(try await ignite.vm(policy).phase == "Stopped")
      }
      // With the host the one that was stopped stays so, and the other comes back.
      #expect(try await ignite.succeed("system", "start") == "always")
      #expect(try await ignite.vm("unless-stopped").phase == "Stopped")
      try await ignite.succeed("start", "unless-stopped")
      #expect(Set(try await ignite.succeed("system", "stop").split(separator: "\n")) == ["always", "unless-stopped"])
      #expect(try await ignite.vms().allSatisfy { $0.phase == "Stopped" })
      #expect(Set(try await ignite.succeed("system", "start").split(separator: "\n")) == ["always", "unless-stopped"])
      try await ignite.succeed("update", "--restart", "no", "always")
      try await self.await("always", ignite) { $0.phase == "Stopped" }
    }
  }

  @Test func whoKillsItMeansIt() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one", "--restart", "always")
      try await ignite.succeed("kill", "one")
      #expect(try await ignite.succeed("wait", "one") == "137")
      #expect(try await ignite.vm("one").status.restarts == 0)
      try await ignite.succeed("start", "one")
      // A hypervisor that dies is no wish.
      let hypervisor = try #require(try await ignite.vm("one").hypervisor)
      kill(hypervisor, SIGKILL)
      let after = try await self.await("one", ignite) { $0.phase == "Running" && $0.hypervisor != hypervisor }
      #expect(after.status.restarts == 1)
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
      // Nor is a supervisor that is lost.
      kill(try #require(after.supervisor), SIGKILL)
      let successor = try await self.await("one", ignite) { $0.supervisor != after.supervisor }
      #expect(successor.phase == "Running" && successor.hypervisor == after.hypervisor)
      kill(try #require(after.hypervisor), SIGKILL)
      let again = try await self.await("one", ignite) { $0.phase == "Running" && $0.hypervisor != after.hypervisor }
      #expect(again.template == nil)
      try await ignite.succeed("stop", "-t", "1", "one")
    }
  }

  @Test func stopSignalAndTimeoutAreItsOwn() async throws {
    try await Ignite.with { ignite in
      let script = "trap 'echo got USR1; exit 5' USR1; trap '' TERM; echo ready; while true; do sleep 0.1; done"
      try await ignite.succeed(
        "run", "-d", "--name", "one", "--stop-signal", "USR1", "--stop-timeout", "600", Ignite.image, "sh", "-c", script
      )
      while !(try await ignite.succeed("logs", "one").contains("ready")) { try Task.checkCancellation() }
      try await ignite.succeed("stop", "one")
      #expect(try await ignite.vm("one").exitCode == 5)
      #expect(try await ignite.succeed("logs", "one").contains("got USR1"))
    }
  }

  @Test func whatMakesNoSenseIsRefused() async throws {
    try await Ignite.with { ignite in
      for (options, words) in [
        (["--rm", "--restart", "always"], "contradict"), (["--restart", "sometimes"], "on-failure[:N]"),
        (["--restart", "on-failure:0"], "is no policy"), (["--stop-signal", "HUPP"], "is no signal"),
        (["--stop-timeout=-1"], "is not possible"),
      ] {
        let result = try await ignite(["run"] + options + [Ignite.image, "true"])
        #expect(result.status == 125 && result.errorText.contains(words), "\(options): \(result.errorText)")
      }
      #expect(try await ignite.vms().isEmpty)
      // One that never ran is not tried again.
      let absent = try await ignite("run", "-d", "--name", "one", "--restart", "always", Ignite.image, "not-there")
      #expect(absent.status == 127)
    }
  }
}
