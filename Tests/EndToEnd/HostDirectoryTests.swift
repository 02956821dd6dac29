import FoundationEssentials
import Glibc
import Testing

/// Directories of the host in a VM, by virtio-fs.
@Suite(.timeLimit(.minutes(10))) struct HostDirectories {
  private func directory(_ ignite: Ignite) async throws -> String {
    let path = ignite.folder + "/host"
    try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "mkdir -p \(path)/sub && echo hello > \(path)/f"])
    return path
  }

  @Test func itIsReadAndWritten() async throws {
    try await Ignite.with { ignite in
      let path = try await directory(ignite)
      let script = "cat /mnt/f; echo back > /mnt/sub/g; chmod 640 /mnt/sub/g; mount | grep -c ' /mnt type virtiofs'"
      let first = try await ignite("run", "--name", "one", "-v", "\(path):/mnt", Ignite.image, "sh", "-c", script)
      #expect(first.text == "hello\n1\n", "\(first.errorText)")
      #expect(first.errorText.contains("starts cold"), "\(first.errorText)")
      let seen = try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "cat \(path)/sub/g; stat -c %a \(path)/sub/g"])
      #expect(seen.text == "back\n640\n")
      #expect(try await ignite.vm("one").template == nil)
      // Said once.
      let again = try await ignite("run", "--rm", "-v", "\(path):/mnt", Ignite.image, "true")
      #expect(again.status == 0 && again.errorText.isEmpty, "\(again.errorText)")
    }
  }

  /// Whatever the guest's root does: the host's side refuses.
  @Test func aReadOnlyOneStaysSo() async throws {
    try await Ignite.with { ignite in
      let path = try await directory(ignite)
      let script = """
        touch /mnt/x; mount -o remount,rw /mnt; touch /mnt/x; rm /mnt/f; echo y >> /mnt/f
        mkdir /again && mount -t virtiofs share0 /again; touch /again/x; cat /mnt/f
        """
      let result = try await ignite("run", "--rm", "-v", "\(path):/mnt:ro", Ignite.image, "sh", "-c", script)
      #expect(result.text == "hello\n", "\(result.errorText)")
      let left = try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "ls \(path); cat \(path)/f"])
      #expect(left.text == "f\nsub\nhello\n")
    }
  }

  @Test func nothingAboveItIsReached() async throws {
    try await Ignite.with { ignite in
      let path = try await directory(ignite)
      try await Ignite.run(
        Ignite.wrap + ["/bin/sh", "-c", "echo secret > \(ignite.folder)/secret; ln -s ../secret \(path)/link"])
      let result = try await ignite(
        "run", "--rm", "-v", "\(path):/mnt", Ignite.image, "sh", "-c", "cat /mnt/link /mnt/../secret; ls /mnt")
      #expect(!result.text.contains("secret\n") && result.text.hasSuffix("f\nlink\nsub\n"), "\(result.text)")
    }
  }

  @Test func itComesBackWithTheMachineAndGoesWithTheVM() async throws {
    try await Ignite.with { ignite in
      let path = try await directory(ignite)
      _ = try await ignite(
        "run", "-d", "--name", "one", "--restart", "always", "-v", "\(path):/mnt", Ignite.image, "sh", "-c",
        "echo x >> /mnt/log; exec sleep 3600")
      // Its supervisor is lost, then the machine ends: the successor starts it with a daemon of its own.
      let supervisor = try #require(try await ignite.vm("one").supervisor)
      kill(supervisor, SIGKILL)
      while !hasEnded(supervisor) { try Task.checkCancellation() }
      try await ignite.succeed("exec", "one", "sh", "-c", "echo y >> /mnt/log")
      kill(try #require(try await ignite.vm("one").hypervisor), SIGKILL)
      while try await ignite.vm("one").status.restarts < 1 { try Task.checkCancellation() }
      while try await ignite.vm("one").phase != "Running" { try Task.checkCancellation() }
      #expect(try await ignite.succeed("exec", "one", "cat", "/mnt/log") == "x\ny\nx")
      try await ignite.succeed("rm", "-f", "one")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      // No daemon of this VM's is left.
      while try await daemons(ignite) > 0 { try Task.checkCancellation() }
      let left = try await Ignite.run(Ignite.wrap + ["/bin/ls", "-A", ignite.folder + "/run/vms"]).text
      #expect(left.isEmpty, "\(left)")
    }
  }

  @Test func oneThatIsGoneIsMissedByName() async throws {
    try await Ignite.with { ignite in
      let path = try await directory(ignite)
      try await ignite.succeed("create", "--name", "one", "-v", "\(path):/mnt", Ignite.image, "true")
      try await Ignite.run(Ignite.wrap + ["/bin/rm", "-r", path])
      let refused = try await ignite("start", "one")
      #expect(refused.status == 1 && refused.errorText.contains("\(path), which the VM has mounted, is not there"))
      #expect(try await ignite.vm("one").phase == "Failed")
    }
  }

  private func daemons(_ ignite: Ignite) async throws -> Int {
    let found = try await Program(
      arguments: ["/usr/bin/pgrep", "-c", "-f", ignite.folder + "/host"], environment: Ignite.variables
    ).run()
    return Int(found.text.trimmingSuffix()) ?? 0
  }
}
