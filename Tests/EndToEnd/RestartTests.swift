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

  /// A command that has connected to a supervisor which then takes its own place, before it has said anything.
  @Test func aCommandBetweenTwoLivesIsAnswered() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed(
        "run", "-d", "--name", "one", "--restart", "always", Ignite.image, "sh", "-c", "sleep 0.1")
      try await self.await("one", ignite) { $0.phase == "Restarting" }
      var exec = ignite.command(["exec", "one", "true"])
      exec.arguments =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=connect", "-e", "inject=connect:delay_exit=700000"]
        .withAbsoluteFirst() + exec.arguments
      // It may find the VM in another life, or on the way there.
      let result = try await exec.run()
      #expect([0, 125, 137].contains(result.status), "\(result.errorText)")
      try await ignite.succeed("rm", "-f", "one")
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

  @Test func aSupervisorThatIsLostWithItsMachineIsMadeUpForByPolicy() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "always", "--restart", "always")
      _ = try await ignite.sleeper("--name", "no")
      try await ignite.succeed(
        "run", "-d", "--name", "waits", "--restart", "always", Ignite.image, "sh", "-c", "exit 3")
      for name in ["always", "no"] {
        let vm = try await ignite.vm(name)
        // Both at once: neither can tell of the other's end.
        kill(try #require(vm.supervisor), SIGSTOP)
        kill(try #require(vm.hypervisor), SIGKILL)
        kill(try #require(vm.supervisor), SIGKILL)
      }
      let after = try await self.await("always", ignite) { $0.phase == "Running" && $0.status.restarts == 1 }
      #expect(try await ignite.succeed("exec", "always", "echo", "hi") == "hi")
      let lost = try await ignite.vm("no")
      #expect(lost.phase == "Failed" && lost.status.message?.contains("supervisor lost") == true, "\(lost)")
      // One that waits for its next start goes on to it.
      let waiting = try await self.await("waits", ignite) { $0.phase == "Restarting" && $0.status.restarts >= 3 }
      kill(try #require(waiting.supervisor), SIGKILL)
      try await self.await("waits", ignite) { $0.status.restarts > waiting.status.restarts }
      try await ignite.succeed("stop", "-t", "1", "waits")
      #expect(try await ignite.vm("waits").phase == "Stopped")
      // Who asked for its end does not get it back.
      kill(try #require(after.supervisor), SIGSTOP)
      let stopping = try ignite.command(["stop", "-t", "60", "always"]).start()
      while try await ignite.vm("always").spec.state != "Stopped" { try Task.checkCancellation() }
      kill(try #require(after.hypervisor), SIGKILL)
      kill(try #require(after.supervisor), SIGKILL)
      _ = await stopping.ended()
      #expect(["Stopped", "Failed"].contains(try await ignite.vm("always").phase))
      for name in ["always", "no", "waits"] { try await ignite.succeed("rm", name) }
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  @Test func aMachineThatEndsWhileItIsFoundAgainIsStartedAgain() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one", "--restart", "on-failure:1")
      let vm = try await ignite.vm("one")
      let hypervisor = try #require(vm.hypervisor)
      let others = Self.supervisors(of: vm)
      // One that does not answer holds the successor up, on whatever step it is.
      kill(hypervisor, SIGSTOP)
      kill(try #require(vm.supervisor), SIGKILL)
      let look = try ignite.command(["ps"]).start()
      while Self.supervisors(of: vm).isSubset(of: others) { try Task.checkCancellation() }
      kill(hypervisor, SIGKILL)
      #expect(await look.ended() == 0)
      let after = try await self.await("one", ignite) { ["Running", "Failed"].contains($0.phase) }
      #expect(after.phase == "Running" && after.status.restarts == 1 && after.hypervisor != hypervisor, "\(after)")
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
    }
  }

  /// The processes that supervise a VM: of its own user as root, else with its folder on their command line.
  private static func supervisors(of vm: VMView) -> Set<Int32> {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return Set(all.compactMap { Int32($0) }).filter { pid in
      let words = (try? String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8)) ?? ""
      guard words.hasPrefix("ignite-spawn\0"), !words.contains("--keep") else { return false }
      guard let user = vm.status.userID else { return words.contains(vm.uid) }
      var info = stat()
      return stat("/proc/\(pid)", &info) == 0 && info.st_uid == user
    }
  }

  /// At random moments of a VM that ends and is started again all the time.
  @Test func aStopHoldsWheneverItComes() async throws {
    var numbers = SeededNumbers()
    try await Ignite.with { ignite in
      try await ignite.succeed(
        "create", "--name", "one", "--restart", "always", Ignite.image, "sh", "-c", "sleep 0.1; exit 1")
      for round in 0..<Ignite.rounds(6, soak: 100) {
        try await ignite.succeed("start", "one")
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...1500, using: &numbers)))
        let stopped = try await ignite("stop", "-t", "1", "one")
        #expect(stopped.status == 0, "round \(round), seed \(numbers.seed): \(stopped.errorText)")
        #expect(["Stopped", "Failed"].contains(try await ignite.vm("one").phase), "seed \(numbers.seed)")
      }
    }
  }

  /// Every process of the VMs ends at once, what is in memory is gone, and the boot is another.
  @Test func afterTheHostsEndAllIsToldTruly() async throws {
    try await Ignite.with { ignite in
      let names = ["always", "unless-stopped", "on-failure", "no", "paused"]
      for name in names {
        _ = try await ignite.sleeper("--name", name, "--restart", name == "paused" ? "no" : name)
      }
      _ = try await ignite.sleeper("--name", "stopped", "--restart", "unless-stopped")
      try await ignite.succeed("pause", "paused")
      try await ignite.succeed("stop", "-t", "1", "stopped")
      try await ignite.succeed("create", "--name", "created", "--restart", "unless-stopped", Ignite.image, "true")
      for name in names {
        let vm = try await ignite.vm(name)
        kill(try #require(vm.supervisor), SIGSTOP)
        kill(try #require(vm.hypervisor), SIGKILL)
        kill(try #require(vm.supervisor), SIGKILL)
      }
      let script = """
        sed -i 's/"boot":"[^"]*"/"boot":"00000000-0000-0000-0000-000000000000"/' \(ignite.data)/plans/*/launch.json
        rm -rf \(ignite.folder)/run/*
        """
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script])
      let first = try await ignite.vms()
      for vm in first {
        let expected = ["stopped": "Stopped", "created": "Created"][vm.name] ?? "Failed"
        #expect(vm.phase == expected, "\(vm.name): \(vm.phase)")
      }
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      let started = Set(try await ignite.succeed("system", "start").split(separator: "\n").map(String.init))
      #expect(started == ["always", "unless-stopped", "on-failure"])
      for name in started { #expect(try await ignite.succeed("exec", name, "echo", "hi") == "hi") }
      for name in names + ["stopped", "created"] { try await ignite.succeed("rm", "-f", name) }
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
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
