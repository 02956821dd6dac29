import FoundationEssentials
import Glibc
import Testing

/// `kill -9` at random moments of all kinds of operations.
@Suite(.timeLimit(.minutes(600))) struct RandomKills {
  private enum Victim: CaseIterable { case command, supervisor, hypervisor }

  /// A VM that writes numbers to a volume, and tells each once it is on the disk.
  private static let writer = [
    "run", "-d", "--name", "writer", "-v", "data:/data", Ignite.image, "sh", "-c",
    "n=$(wc -l < /data/n 2>/dev/null || echo 0); while n=$((n+1)); do echo $n >> /data/n; sync; echo $n; done",
  ]

  private static func operations(_ ignite: Ignite, layout: String) -> [[String]] {
    [
      writer, ["run", "--rm", Ignite.image, "true"], ["create", "-v", "/anonymous", Ignite.image, "true"],
      ["stop", "-t", "1", "writer"], ["kill", "writer"], ["restart", "-t", "1", "writer"], ["rm", "-f", "writer"],
      ["exec", "writer", "sh", "-c", "dd if=/dev/zero bs=1M count=30 | wc -c"],
      ["cp", ignite.folder + "/blob", "writer:/blob"], ["cp", "writer:/bin/busybox", ignite.folder + "/out"],
      ["image", "import", "oci:\(layout):test", "--name", "other"], ["image", "rm", "other"],
      ["volume", "create", "-s", "64m", "extra"], ["volume", "rm", "extra"], ["volume", "prune", "-af"],
    ]
  }

  @Test func everythingIsAccountedForAfterwards() async throws {
    var numbers = SeededNumbers()
    let seed = numbers.seed
    let layout = try await TestImage.layout()
    try await Ignite.with { ignite in
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "head -c 30000000 /dev/zero > \(ignite.folder)/blob"])
      try await ignite.succeed("volume", "create", "-s", "64m", "data")
      var acknowledged = 0
      for round in 0..<Ignite.rounds(20, soak: 1000) {
        if try await !ignite.vms().contains(where: { $0.name == "writer" && $0.phase == "Running" }) {
          _ = try await ignite("rm", "-f", "writer")
          let began = try await ignite(Self.writer)
          #expect(began.status == 0, "\(began.errorText)")
        }
        let writer = try await ignite.vm("writer")
        let operation = try #require(Self.operations(ignite, layout: layout).randomElement(using: &numbers))
        let victim = try #require(Victim.allCases.randomElement(using: &numbers))
        let context: Comment = "round \(round), seed \(seed): \(operation.joined(separator: " ")), the \(victim)"
        let running = try ignite.command(operation).start()
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...1200, using: &numbers)))
        let log = try await ignite("logs", "-n", "1", "writer")
        acknowledged = max(acknowledged, Int(log.text.trimmingSuffix()) ?? 0)
        switch victim {
        case .command: kill(running.pid, SIGKILL)
        case .supervisor: if let pid = writer.supervisor { kill(pid, SIGKILL) }
        case .hypervisor: if let pid = writer.hypervisor { kill(pid, SIGKILL) }
        }
        _ = await running.ended()
        try await check(ignite, context)
      }
      // Nothing that was told to be on the volume is lost, and it is whole.
      _ = try await ignite("rm", "-f", "writer")
      if try await Volumes.list(ignite).contains(where: { $0.volume.metadata.name == "data" }) {
        let count = try await ignite.succeed(
          "run", "--rm", "-v", "data:/data", Ignite.image, "sh", "-c", "tail -n 1 /data/n")
        #expect(
          (Int(count) ?? 0) >= acknowledged, "seed \(seed): \(acknowledged) were acknowledged, \(count) are there")
        try await Ignite.run(["e2fsck", "-fn", try await Volumes.path("data", ignite)])
      }
      for vm in try await ignite.vms() { try await ignite.succeed("rm", "-fv", vm.name) }
      try await ignite.succeed("volume", "prune", "-af")
      for folder in ["data/vms", "data/plans", "data/volumes", "run/vms"] {
        let left = try await Ignite.run(Ignite.wrap + ["/bin/ls", "-A", "\(ignite.folder)/\(folder)"]).text
        #expect(left.isEmpty, "seed \(seed): \(folder): \(left)")
      }
    }
  }

  /// After a look and a clean-up: no VM is stuck, nothing is left over, and a disk that no VM has open is whole.
  private func check(_ ignite: Ignite, _ context: Comment) async throws {
    while try await ignite.vms().contains(where: { ["Starting", "Removing"].contains($0.phase) }) {
      try Task.checkCancellation()
    }
    let collected = try await ignite("gc")
    #expect(collected.status == 0, context)
    #expect(try await ignite.succeed("gc", "--dry-run") == "", context)
    #expect(try await !ignite.succeed("system", "df").contains("Unaccounted"), context)
    for vm in try await ignite.vms() where ["Stopped", "Failed"].contains(vm.phase) {
      let disk = "\(ignite.data)/vms/\(vm.uid)/disk.ext4"
      // Replayed and checked as a copy: 1 says that the journal was.
      let script = "cp --sparse=always \(disk) \(ignite.folder)/copy && e2fsck -fp \(ignite.folder)/copy; [ $? -le 1 ]"
      let checked = try await Program(arguments: ["/bin/bash", "-c", script], environment: Ignite.variables).run()
      #expect(checked.status == 0, "\(context): \(checked.text)")
    }
  }
}
