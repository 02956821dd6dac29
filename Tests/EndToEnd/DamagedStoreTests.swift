import FoundationEssentials
import Glibc
import Testing

/// A database that is damaged or gone: named, kept aside, never silently replaced.
@Suite(.timeLimit(.minutes(5))) struct DamagedStore {
  private func damage(_ ignite: Ignite, _ script: String) async throws {
    try await Ignite.run(
      Ignite.wrap + ["/bin/sh", "-c", "cd \(ignite.data) && rm -f ignite.db-wal ignite.db-shm && \(script)"])
  }

  @Test(arguments: [
    "head -c 20480 /dev/urandom | dd of=ignite.db conv=notrunc 2>/dev/null", ": > ignite.db", "rm ignite.db",
    // Its head is whole, and its pages are not.
    "dd if=/dev/urandom of=ignite.db bs=4096 seek=1 count=3 conv=notrunc 2>/dev/null",
  ]) func itIsKeptAside(_ script: String) async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.succeed("create", "--name", "one", "-v", "data:/data", Ignite.image, "true")
      try await damage(ignite, script)
      for command in [["ps", "-a"], ["gc"], ["run", "--rm", Ignite.image, "true"], ["volume", "ls"]] {
        let result = try await ignite(command)
        #expect(result.status != 0 && result.errorText.contains("ignite.db"), "\(command): \(result.errorText)")
      }
      #expect(try ignite.names(in: "vms") == [uid])
      let fixed = try await ignite("doctor", "--fix")
      #expect(fixed.errorText.contains("are kept in \(ignite.data)/set-aside-"), "\(fixed.errorText)")
      let aside = try #require(try ignite.names(in: "").first { $0.hasPrefix("set-aside-") })
      #expect(try ignite.names(in: aside + "/vms") == [uid])
      #expect(try ignite.names(in: aside + "/volumes").count == 1)
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("gc") == "")
      #expect(try ignite.names(in: aside + "/vms") == [uid])
      #expect(try await ignite("doctor", "--fix").errorText.isEmpty)
    }
  }

  @Test func notUnderVMsThatRun() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let supervisor = try #require(try await ignite.vm("one").supervisor)
      try await damage(ignite, "cp ignite.db whole && rm ignite.db")
      let refused = try await ignite("doctor", "--fix")
      #expect(refused.status == 1 && refused.errorText.contains("\(supervisor)"), "\(refused.errorText)")
      try await damage(ignite, "mv whole ignite.db")
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
    }
  }
}
