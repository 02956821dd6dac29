import FoundationEssentials
import Testing

/// What VMs take, as `stats` shows it.
@Suite(.timeLimit(.minutes(5))) struct Stats {
  private struct Row: Decodable {
    struct Guest: Decodable {
      var memoryUsed: UInt64
      var sent: UInt64
      var read: UInt64
      var written: UInt64
      var processes: UInt64
    }
    var name: String
    var cpu: Double
    var hostMemory: UInt64
    var memory: UInt64
    var guest: Guest?
  }

  private func rows(_ ignite: Ignite, _ names: String...) async throws -> [String: Row] {
    let result = try await ignite(["stats", "--no-stream", "--format", "json"] + names)
    #expect(result.status == 0, "\(result.errorText)")
    let rows = try JSONDecoder().decode([Row].self, from: Data(result.output))
    return Dictionary(uniqueKeysWithValues: rows.map { ($0.name, $0) })
  }

  @Test func whoIsAtWorkIsSeen() async throws {
    try await Ignite.with { ignite in
      let spin = "head -c 3000000 /dev/urandom > /file; sync; sleep 3600 & while true; do :; done"
      try await ignite.succeed("run", "-d", "--name", "busy", "-m", "256m", Ignite.image, "sh", "-c", spin)
      _ = try await ignite.sleeper("--name", "idle")
      while try await ignite("exec", "busy", "test", "-s", "/file").status != 0 { try Task.checkCancellation() }
      let rows = try await rows(ignite)
      let busy = try #require(rows["busy"])
      let idle = try #require(rows["idle"])
      #expect(busy.cpu > idle.cpu && busy.cpu > 5, "\(busy.cpu), \(idle.cpu)")
      #expect(busy.memory == 256 << 20 && idle.memory == 512 << 20)
      #expect(busy.guest?.processes == 2 && idle.guest?.processes == 1)
      let guest = try #require(busy.guest)
      #expect(guest.written >= 3_000_000 && guest.memoryUsed < 256 << 20 && guest.memoryUsed > 0)
      #expect(idle.hostMemory > 20 << 20)
      let table = try await ignite.succeed("stats", "--no-stream", "busy")
      #expect(table.contains("MEM USAGE / LIMIT") && table.contains(" / 256MiB") && !table.contains("idle"))

      try await ignite.succeed("pause", "idle")
      #expect(try await self.rows(ignite, "idle")["idle"]?.guest == nil)
      try await ignite.succeed("stop", "-t", "0", "idle")
      #expect(try await self.rows(ignite)["idle"] == nil)
      let stopped = try await ignite("stats", "--no-stream", "idle")
      #expect(stopped.status == 1 && stopped.errorText.contains("ignite start idle"))
    }
  }
}
