import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Programs that take all they can of their VM: the host notices nothing, and the VM can be ended. Floods of the log are in
/// `Bounds`, a guest that lies to its supervisor in `SupervisorFuzz`.
@Suite(.timeLimit(.minutes(10))) struct HostileGuests {
  private func until(_ word: String, of vm: String, _ ignite: Ignite) async throws {
    while !(try await ignite.succeed("logs", vm).contains(word)) { try Task.checkCancellation() }
  }

  @Test(arguments: [["stop", "-t", "2"], ["kill"], ["rm", "-f"]])
  func oneThatForksWithoutEnd(_ end: [String]) async throws {
    try await Ignite.with { ignite in
      let bomb = "echo begun; f() { f | f & f; }; while :; do f 2>/dev/null; done"
      try await ignite.succeed("run", "-d", "--name", "bomb", "-m", "128m", Ignite.image, "sh", "-c", bomb)
      try await until("begun", of: "bomb", ignite)
      // It is at it: another process in the guest may come too late, or not at all, and that is told.
      for _ in 0..<3 {
        var exec = ignite.command(["exec", "bomb", "true"])
        exec.arguments = ["/usr/bin/timeout", "-s", "KILL", "20"] + exec.arguments
        let tried = try await exec.run()
        #expect([0, 125, 126, 127, 137].contains(tried.status), "\(tried.status): \(tried.errorText)")
      }
      let ended = try await ignite.command(end + ["bomb"]).run()
      if ended.status != 0 {
        // Its kernel may have killed the program before, for want of memory.
        #expect(end == ["kill"] && ended.errorText.contains("is not running"), "\(ended.errorText)")
      }
      if end[0] != "rm" {
        let status = try await ignite.succeed("wait", "bomb")
        // 2: its shell gave up before, for want of processes.
        #expect(["137", "143", "2"].contains(status), "\(end): \(status)")
        try await ignite.succeed("rm", "bomb")
      }
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }

  @Test func oneThatTakesAllMemory() async throws {
    try await Ignite.with { ignite in
      // What its kernel kills is its own; the VM's process is told as any that is killed.
      let ran = try await ignite(
        "run", "--name", "hog", "-m", "128m", Ignite.image, "sh", "-c", "x=x; while :; do x=$x$x$x$x; done")
      #expect(ran.status != 0 && ran.status < 200, "\(ran.status)")
      let vm = try await ignite.vm("hog")
      #expect(["Stopped", "Failed"].contains(vm.phase))
      try await ignite.succeed("rm", "hog")
    }
  }

  @Test func oneThatFillsItsDisk() async throws {
    try await Ignite.with { ignite in
      let script = "dd if=/dev/zero of=/big bs=1M 2>&1 | tail -n 1; echo full; sleep 3600"
      try await ignite.succeed("run", "-d", "--name", "full", "-s", "256m", Ignite.image, "sh", "-c", script)
      try await until("full", of: "full", ignite)
      #expect(try await ignite("exec", "full", "sh", "-c", "echo x > /more").status != 0)
      let refused = try await ignite("cp", "\(ignite.folder)/data/tsc.json", "full:/more")
      #expect(refused.status != 0 && refused.errorText.contains("no space left"), "\(refused.errorText)")
      #expect(try await ignite.succeed("exec", "full", "sh", "-c", "rm /big && echo y > /more && cat /more") == "y")
      try await ignite.succeed("stop", "-t", "1", "full")
      let disk = "\(ignite.data)/vms/\(try await ignite.vm("full").uid)/disk.ext4"
      let used = try await Ignite.run(Ignite.wrap + ["/usr/bin/du", "-m", disk]).text
      #expect((used.split(separator: "\t").first.flatMap { Int($0) } ?? 1000) <= 257, "\(used)")
      let check = "cp --sparse=always \(disk) \(ignite.folder)/copy && e2fsck -fp \(ignite.folder)/copy; [ $? -le 1 ]"
      try await Ignite.run(Ignite.wrap + ["/bin/bash", "-c", check])
      try await ignite.succeed("start", "full")
      try await ignite.succeed("rm", "-f", "full")
    }
  }

  /// What nobody reads stays with who writes it.
  @Test func oneThatNeverReadsItsInput() async throws {
    try await Ignite.with { ignite in
      let program = ignite.command(["run", "-i", "--rm", "--name", "deaf", Ignite.image, "sleep", "3600"])
      var fed = program
      fed.arguments = ["/bin/sh", "-c", "exec \"$0\" \"$@\" < /dev/zero"] + program.arguments
      let running = try fed.start()
      while try await !ignite.vms().contains(where: { $0.name == "deaf" && $0.phase == "Running" }) {
        try Task.checkCancellation()
      }
      let supervisor = try #require(try await ignite.vm("deaf").supervisor)
      for _ in 0..<3 { #expect(try await ignite.succeed("exec", "deaf", "echo", "hi") == "hi") }
      let status = try String(contentsOfFile: "/proc/\(supervisor)/status", encoding: .utf8)
      let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split(separator: " ").dropLast().last
      #expect((peak.flatMap { Int($0) } ?? .max) < 64 << 10, "\(status)")
      try await ignite.succeed("kill", "deaf")
      #expect(await running.ended() == 137)
    }
  }
}
