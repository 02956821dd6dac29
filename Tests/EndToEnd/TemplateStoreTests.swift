import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Templates as their user meets them: made, listed, removed. The seed has one, of the default shape.
@Suite(.timeLimit(.minutes(5))) struct TemplateStore {
  @Test func madeListedAndRemoved() async throws {
    try await Ignite.with { ignite in
      let seed = try await ignite.succeed("template", "ls", "-q")
      let key = try await ignite.succeed("template", "build", "--cpus", "2", "-m", "256m")
      #expect(key.count == 32 && seed.count == 12)
      // The least recently used first.
      #expect(try await ignite.succeed("template", "ls", "-q") == "\(seed)\n\(key.prefix(12))")
      let made = try #require(try await ignite.templates().last)
      #expect(made.key == key && made.cpus == 2 && made.memory == 256 << 20 && made.unusable == nil)
      // Sparse: what the guest used of its memory.
      #expect(made.size < 128 << 20)
      let table = try await ignite.succeed("template", "ls")
      for word in ["KEY", "CLONES", String(key.prefix(12)), "ready"] { #expect(table.contains(word), "\(table)") }
      let again = try await ignite("template", "build", "--cpus", "2", "-m", "256m")
      #expect(again.status == 1 && again.errorText.contains("ignite template ls"), "\(again.errorText)")
      try await ignite.expectEveryByteAccountedFor()
      #expect(try await ignite.usage()["Templates"]?.count == 2)

      for wrong in ["abc", "zzzz"] {
        let refused = try await ignite("template", "rm", wrong)
        #expect(refused.status == 1 && refused.errorText.contains("four digits"), "\(refused.errorText)")
      }
      #expect(try await ignite.succeed("template", "rm", String(key.prefix(8)), seed) == "\(key.prefix(8))\n\(seed)")
      #expect(try await ignite.templates().isEmpty)
      #expect(try ignite.names(in: "templates").isEmpty)
    }
  }

  /// A prune without -a takes what nothing can start from; the kernel takes its own along.
  @Test func pruned() async throws {
    try await Ignite.with { ignite in
      let key = try #require(try await ignite.templates().first?.key)
      #expect(!(try await ignite.succeed("template", "prune", "-f")).contains(key))
      let wrong = try await ignite("template", "prune", "-a", "-f", "--filter", "label=x")
      #expect(wrong.status == 1 && wrong.errorText.contains("until=TIME"), "\(wrong.errorText)")
      #expect(!(try await ignite.succeed("template", "prune", "-a", "-f", "--filter", "until=24h")).contains(key))
      let dry = try await ignite.succeed("template", "prune", "-a", "--dry-run")
      #expect(dry.contains(key) && dry.contains("Reclaimable"), "\(dry)")
      #expect(try await ignite.templates().map(\.key) == [key])
      #expect(try await ignite.succeed("template", "prune", "-a", "-f").contains(key))
      #expect(try await ignite.templates().isEmpty)
    }
  }

  @Test func theKernelTakesItsOwnAlong() async throws {
    try await Ignite.with { ignite in
      #expect(try await ignite.templates().count == 1)
      try await ignite.succeed("kernel", "rm", try await ignite.succeed("kernel", "ls", "-q"))
      #expect(try await ignite.templates().isEmpty)
      #expect(try ignite.names(in: "templates").isEmpty)
    }
  }

  /// A template that was damaged is told of, and never used; the VM boots.
  @Test func aDamagedOneIsDropped() async throws {
    try await Ignite.with { ignite in
      let key = try #require(try await ignite.templates().first?.key)
      // The seed's files are shared by all tests: this one gets its own.
      let memory = "\(ignite.data)/templates/\(key)/ram"
      try await Ignite.run(
        Ignite.wrap + ["/bin/sh", "-c", "cp --sparse=always \(memory) \(memory)2 && mv \(memory)2 \(memory)"])
      try await Ignite.run(
        Ignite.wrap + ["/bin/sh", "-c", "printf x | dd of=\(memory) bs=1 seek=1000000 conv=notrunc status=none"])
      let result = try await ignite("run", "--name", "one", Ignite.image, "echo", "hi")
      #expect(result.status == 0 && result.text == "hi\n", "\(result.errorText)")
      #expect(result.errorText.contains("\(key.prefix(12)) was dropped: its memory is not what was saved"))
      #expect(try await ignite.vm("one").template == nil)
      #expect(try await ignite.templates().isEmpty)
    }
  }

  /// Running VMs need neither their template nor its keeper.
  @Test func clonesGoOnAlone() async throws {
    try await Ignite.with { ignite in
      let first = try await ignite.sleeper()
      _ = try await ignite.sleeper()
      let template = try #require(try await ignite.templates().first)
      let keeper = try #require(template.keeper)
      #expect(template.clones == 2)
      kill(keeper, SIGKILL)
      #expect(try await ignite.succeed("exec", first, "echo", "on") == "on")
      _ = try await ignite.sleeper()
      let next = try #require(try await ignite.templates().first)
      #expect(next.keeper != nil && next.keeper != keeper && next.clones == 1)
      try await ignite.succeed("template", "rm", template.key)
      for vm in try await ignite.succeed("ps", "-q").split(separator: "\n") {
        #expect(try await ignite.succeed("exec", String(vm), "echo", "on") == "on")
      }
    }
  }
}
