import FoundationEssentials
import Glibc
import Testing

/// What is left when a part of a VM dies.
@Suite(.serialized, .timeLimit(.minutes(10))) struct Supervisors {
  // Serialized: ten VMs at once are all that two processors should carry.

  @Test func tenVMsLoseTheirSupervisorsInTurn() async throws {
    try await Ignite.with { ignite in
      let count = Ignite.rounds(10, soak: 40)
      let uids = try await withThrowingTaskGroup(of: String.self) { group in
        for number in 0..<count {
          group.addTask { try await ignite.sleeper("--name", "vm\(number)", "-m", "128m") }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(Set(uids).count == count)
      let vms = try await ignite.vms()
      #expect(Set(vms.compactMap(\.supervisor)).count == count)
      for (index, vm) in vms.enumerated() {
        let supervisor = try #require(vm.supervisor)
        let hypervisor = try #require(vm.hypervisor)
        kill(supervisor, SIGKILL)
        while kill(supervisor, 0) == 0 && !hasEnded(supervisor) {}
        // The look at it has another one take its place.
        let after = try await ignite.vm(vm.name)
        #expect(after.phase == "Running", "\(after.message ?? "")")
        #expect(after.hypervisor == hypervisor && !hasEnded(hypervisor))
        #expect(after.supervisor != supervisor)
        #expect(try await ignite.succeed("exec", vm.name, "echo", "\(index)") == "\(index)")
      }
      #expect(try await ignite.vms().filter { $0.phase == "Running" }.count == count)
      #expect(try await ignite(["stop", "-t", "1"] + vms.map(\.name)).status == 0)
      #expect(try await ignite(["rm"] + vms.map(\.name)).status == 0)
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
    }
  }

  @Test func logsGoOnThroughASupervisorsLoss() async throws {
    try await Ignite.with { ignite in
      let script = "trap 'echo before' USR1; trap 'echo after; exit 7' USR2; echo ready; while true; do sleep 0.1; done"
      try await ignite.succeed("run", "-d", "--name", "one", Ignite.image, "sh", "-c", script)
      let follower = try ignite.start("logs", "-f", "one")
      let waiter = try ignite.start("wait", "one")
      let running = try ignite.start("exec", "one", "sleep", "3600")
      #expect(try await follower.readOutput(until: "ready\n") == "ready\n")
      try await ignite.succeed("kill", "-s", "USR1", "one")
      #expect(try await follower.readOutput(until: "before\n").hasSuffix("before\n"))
      let supervisor = try #require(try await ignite.vm("one").supervisor)
      kill(supervisor, SIGKILL)
      #expect(await running.ended() == 125)
      try await ignite.succeed("kill", "-s", "USR2", "one")
      #expect(try await follower.readOutput(until: "after\n").hasSuffix("after\n"))
      #expect(await follower.ended() == 0)
      #expect(try await waiter.readOutput(until: "7\n") == "7\n")
      let after = try await ignite.vm("one")
      #expect(after.phase == "Stopped" && after.exitCode == 7)
    }
  }

  @Test func withBothLostTheVMHasFailed() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let vm = try await ignite.vm("one")
      for pid in [vm.supervisor, vm.hypervisor] { kill(try #require(pid), SIGKILL) }
      let after = try await ignite.vm("one")
      #expect(after.phase == "Failed")
      #expect(after.message == "supervisor lost: its hypervisor has ended, too")
      try await ignite.succeed("start", "one")
      #expect(try await ignite.vm("one").phase == "Running")
    }
  }

  @Test func aHypervisorThatDiesIsNoticed() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let hypervisor = try #require(try await ignite.vm("one").hypervisor)
      kill(hypervisor, SIGKILL)
      #expect(try await ignite.succeed("wait", "one") == "125")
      let after = try await ignite.vm("one")
      #expect(after.phase == "Failed")
      #expect(after.message?.contains("QEMU") == true)
    }
  }

  @Test func theCommandMayDieAndTheVMGoesOn() async throws {
    try await Ignite.with { ignite in
      let running = try ignite.start("run", "--name", "one", Ignite.image, "sh", "-c", "echo up; exec sleep 3600")
      #expect(try await running.readOutput(until: "up\n") == "up\n")
      try running.signal(SIGKILL)
      _ = await running.ended()
      #expect(try await ignite.vm("one").phase == "Running")
      #expect(try await ignite.succeed("exec", "one", "echo", "still here") == "still here")
    }
  }

  @Test(arguments: 0..<4) func interruptedAnywhereNothingIsLeft(step: Int) async throws {
    try await Ignite.with { ignite in
      let running = try ignite.start("run", "--name", "one", Ignite.image, "sleep", "3600")
      // Where it is caught differs from run to run: that is the point.
      try await Task.sleep(for: .milliseconds([5, 60, 400, 1200][step]))
      try running.signal(SIGINT)
      let status = await running.ended()
      #expect(status != 0)
      // A process that ran before the signal came got it, and its VM stays to be looked at.
      if let vm = try await ignite.vms().first { #expect(vm.phase == "Stopped" && vm.name == "one") }
      #expect(try await ignite("rm", "-f", "one").status == 0)
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
      for folder in ["vms", "plans"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(ignite.folder)/data/\(folder)").isEmpty)
      }
    }
  }
}

/// Whether the process has ended, be it that nobody has asked for its status yet.
func hasEnded(_ pid: Int32) -> Bool {
  guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return true }
  return String(decoding: data, as: UTF8.self).split(separator: ")").last?.hasPrefix(" Z") ?? true
}
