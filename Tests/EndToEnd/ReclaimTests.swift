import FoundationEssentials
import Testing

/// Memory that a guest frees, and what of it the host has back.
@Suite(.timeLimit(.minutes(10))) struct Reclaiming {
  /// What a process has of the host's memory, in MiB.
  private func resident(_ pid: Int32) throws -> Int {
    let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) >> 10
  }

  /// Has the guest take 200 MiB, and free them.
  private func fillAndFree(_ ignite: Ignite, _ name: String) async throws -> (full: Int, pid: Int32) {
    let pid = try #require(try await ignite.vm(name).hypervisor)
    let fill = "mkdir /m && mount -t tmpfs -o size=220m m /m && dd if=/dev/urandom of=/m/big bs=1M count=200 2>&1"
    try await ignite.succeed("exec", name, "sh", "-c", fill)
    let full = try resident(pid)
    try await ignite.succeed("exec", name, "rm", "/m/big")
    return (full, pid)
  }

  @Test(arguments: [["--reclaim-memory"], ["--cold"]])
  func whatAGuestFreesIsTheHostsAgain(_ way: [String]) async throws {
    try await Ignite.with { ignite in
      let isWarm = way == ["--reclaim-memory"]
      let key = isWarm ? try await ignite.succeed("template", "build", "--reclaim-memory") : nil
      _ = try await ignite.sleeper("--name", "one", way[0])
      // Its second life is thawed from the template as it was, too.
      if isWarm { try await ignite.succeed("restart", "-t", "1", "one") }
      #expect(try await ignite.vm("one").template == key)
      for _ in 0..<2 {
        let (full, pid) = try await fillAndFree(ignite, "one")
        #expect(full > 200)
        while try resident(pid) > full - 150 { try await Task.sleep(for: .milliseconds(50)) }
        try await ignite.succeed("exec", "one", "umount", "/m")
        try await ignite.succeed("exec", "one", "rmdir", "/m")
      }
    }
  }

  /// Each has a template of its own: who gives memory back must not take it from those who share theirs.
  @Test func theTemplateOfOthersIsUntouched() async throws {
    try await Ignite.with { ignite in
      let key = try await ignite.succeed("template", "build", "--reclaim-memory")
      _ = try await ignite.sleeper("--name", "giving", "--reclaim-memory", "--restart", "always")
      _ = try await ignite.sleeper("--name", "other", "--reclaim-memory")
      let (full, pid) = try await fillAndFree(ignite, "giving")
      while try resident(pid) > full - 150 { try await Task.sleep(for: .milliseconds(50)) }
      // The supervisor thaws it once more, from the memory that it was given at its start.
      _ = try await ignite("exec", "giving", "killall", "sleep")
      while try await ignite.vm("giving").status.restarts != 1 { try await Task.sleep(for: .milliseconds(50)) }
      while try await ignite("exec", "giving", "true").status != 0 { try Task.checkCancellation() }
      for name in ["giving", "other"] {
        #expect(try await ignite.vm(name).template == key)
        #expect(try await ignite.succeed("exec", name, "sh", "-c", "ls /m 2>/dev/null; echo fine") == "fine")
      }
      _ = try await ignite.sleeper("--name", "later", "--reclaim-memory")
      #expect(try await ignite.vm("later").template == key)
      // Others have a template without.
      _ = try await ignite.sleeper("--name", "sharing")
      let sharing = try await ignite.vm("sharing").template
      #expect(sharing != nil && sharing != key)
    }
  }
}
