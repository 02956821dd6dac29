import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Imports that are killed, compete, or find no room.
@Suite(.timeLimit(.minutes(15))) struct Crashes {
  /// The system calls by which an import changes what is on disk.
  private static let calls = "openat,write,pwrite64,fsync,rename,unlink,ftruncate,mkdir,flock,fallocate"

  /// kill -9 at a system call chosen at random: the next import finishes, every byte is accounted for, and a prune leaves
  /// nothing behind.
  @Test func killedAnywhere() async throws {
    var numbers = SeededNumbers()
    let seed = numbers.seed
    let folder = try Ignite.scratchFolder()
    let layout = try await BuiltImage.layout(
      in: folder,
      "head -c 3000000 /dev/urandom > tree/large; for i in $(seq 300); do echo $i > tree/small$i; done")

    // An import that nobody disturbs: what it makes, and the calls that it makes.
    let calls = "\(folder)/calls"
    let digest = try await Self.undisturbed(layout, log: calls)
    let lines = try String(contentsOfFile: calls, encoding: .utf8).split(separator: "\n")
    var ordinals: [String: Int] = [:]
    // From where it begins to work: ahead of that the loader looks for libraries.
    let start = lines.firstIndex { $0.contains("mkdir(") } ?? 0
    let moments: [(call: String, ordinal: Int)] = lines.enumerated().compactMap { index, line in
      // `PID name(…`: strace counts a call's uses in each thread.
      guard let match = line.firstMatch(of: /^(\d+) +(\w+)\(/) else { return nil }
      let key = "\(match.1) \(match.2)"
      ordinals[key, default: 0] += 1
      guard index >= start else { return nil }
      return (String(match.2), ordinals[key] ?? 1)
    }
    #expect(moments.count > 100)

    var killed = 0
    let rounds = Ignite.rounds(10, soak: 100)
    for round in 0..<rounds {
      let moment = try #require(moments.randomElement(using: &numbers))
      try await Ignite.withEmpty { ignite in
        let context: Comment = "round \(round), seed \(seed): killed at \(moment.call) \(moment.ordinal)"
        let traced = try await Self.traced(
          ignite, layout,
          ["-e", "trace=\(moment.call)", "-e", "inject=\(moment.call):signal=KILL:when=\(moment.ordinal)"]
        )
        if traced.status == 137 { killed += 1 }
        if FileManager.default.fileExists(atPath: ignite.data + "/ignite.db") {
          try await ignite.expectEveryByteAccountedFor()
        }
        let next = try await ignite("image", "import", "oci:\(layout):test", "--name", "one")
        #expect(next.status == 0, "\(context.rawValue): \(next.errorText)")
        try await ignite.expectEveryByteAccountedFor()
        let disk = try ignite.onlyDisk()
        #expect(try await Ignite.digest(of: disk) == digest, context)
        try await Ignite.run(["e2fsck", "-fn", disk])
        try await ignite.succeed("system", "prune", "-f")
        #expect(try ignite.names(in: "content/ingest") == [], context)
        #expect(try ignite.names(in: "disks").count == 1, context)
        #expect(try await ignite.succeed("image", "verify", "one").contains("are whole"), context)
        #expect(try await ignite.usage()["Ingest"]?.size == 0, context)
        try await ignite.succeed("image", "rm", "one")
        #expect(try ignite.names(in: "content/blobs/sha256") == [], context)
        #expect(try ignite.names(in: "disks") == [], context)
      }
    }
    // Threads differ from run to run, so a moment may not come; most do.
    #expect(killed * 2 >= rounds)
    try await Ignite.run(["rm", "-rf", folder])
  }

  private static func traced(_ ignite: Ignite, _ layout: String, _ options: [String]) async throws -> Program.Result {
    var program = ignite.command(["image", "import", "oci:\(layout):test", "--name", "one"])
    program.arguments = (["strace", "-f", "-qq"] + options).withAbsoluteFirst() + program.arguments
    return try await program.run()
  }

  private static func undisturbed(_ layout: String, log: String) async throws -> String {
    var digest = ""
    try await Ignite.withEmpty { ignite in
      let result = try await traced(ignite, layout, ["-o", log, "-e", "trace=\(calls)"])
      #expect(result.status == 0, "\(result.errorText)")
      digest = try await Ignite.digest(of: ignite.onlyDisk())
    }
    return digest
  }

  // MARK: Two at once

  /// How often each blob was asked for, by the registry's own access log.
  private func requests(_ folder: String) throws -> [String: Int] {
    let log = try String(contentsOfFile: folder + "/log", encoding: .utf8)
    var counts: [String: Int] = [:]
    for match in log.matches(of: /"GET \/v2\/[^ ]*\/blobs\/(sha256:[0-9a-f]{64})[^ ]* HTTP\/1.1" 200/) {
      counts[String(match.1), default: 0] += 1
    }
    return counts
  }

  @Test func twoImportsFetchOnce() async throws {
    try await Ignite.withEmpty { ignite in
      let folder = ignite.folder + "/registry"
      let registry = try await Registry.start(in: folder)
      let name = "\(registry.address)/things/test:1"
      // The database is made by the first command; making it is not what is tested here.
      try await ignite.succeed("image", "ls")
      async let first = ignite("image", "import", name)
      async let second = ignite("image", "import", name, "--name", "second")
      for result in try await [first, second] { #expect(result.status == 0, "\(result.errorText)") }
      await registry.end()
      let counts = try requests(folder)
      // A configuration and two layers.
      #expect(counts.count == 3)
      #expect(counts.values.allSatisfy { $0 == 1 }, "\(counts)")
      #expect(try await ignite.succeed("image", "verify", name, "second").split(separator: "\n").count == 2)
      #expect(try ignite.names(in: "content/ingest") == [])
    }
  }

  /// Two images with a layer in common, at once: it is fetched once.
  @Test func aSharedLayerIsFetchedOnce() async throws {
    try await Ignite.withEmpty { ignite in
      let folder = ignite.folder + "/registry"
      let registry = try await Registry.start(in: folder)
      let layout = try await BuiltImage.layout(in: ignite.folder, "echo more > tree/more")
      try await Ignite.run([
        "skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "oci:\(layout):test",
        "docker://\(registry.address)/things/more:1",
      ])
      try await ignite.succeed("image", "ls")
      async let first = ignite("image", "import", "\(registry.address)/things/test:1")
      async let second = ignite("image", "import", "\(registry.address)/things/more:1")
      for result in try await [first, second] { #expect(result.status == 0, "\(result.errorText)") }
      await registry.end()
      let counts = try requests(folder)
      // Two configurations and three layers.
      #expect(counts.count == 5)
      #expect(counts.values.allSatisfy { $0 == 1 }, "\(counts)")
    }
  }

  /// The second import goes on when the first one, which it waits for, is killed.
  @Test func theSecondOutlivesTheFirst() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await BuiltImage.layout(in: ignite.folder, "head -c 20000000 /dev/urandom > tree/large")
      try await ignite.succeed("image", "ls")
      for ordinal in [1, 5, 20] {
        async let first = Self.traced(
          ignite, layout, ["-e", "trace=pwrite64", "-e", "inject=pwrite64:signal=KILL:when=\(ordinal)"])
        async let second = ignite("image", "import", "oci:\(layout):test", "--name", "two")
        let (killed, finished) = try await (first, second)
        // One that finds the disk made has nothing to write.
        #expect([0, 137].contains(killed.status))
        #expect(finished.status == 0, "\(finished.errorText)")
        #expect(try await ignite.succeed("image", "verify", "two").contains("are whole"))
        try await ignite.succeed("image", "rm", "two")
        _ = try await ignite("image", "rm", "one")
        try await ignite.succeed("image", "prune", "-a", "-f")
        #expect(try ignite.names(in: "content/blobs/sha256") == [])
      }
    }
  }
}
