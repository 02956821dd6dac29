import FoundationEssentials
import Glibc
import Testing

/// What a VM may take of the host: its log, and memory.
@Suite(.timeLimit(.minutes(10))) struct Bounds {
  @Test func logsAreBoundedAndFollowedThroughAllTurns() async throws {
    try await Ignite.with { ignite in
      let script = "read x; for i in $(seq 2000); do echo line $i; done"
      try await ignite.succeed(
        "run", "-di", "--name", "one", "--log-opt", "max-size=32k", "--log-opt", "max-file=100", Ignite.image, "sh",
        "-c", script)
      let follower = try ignite.start("logs", "-f", "one")
      let go = try await ignite(["attach", "one"], input: Array("go\n".utf8))
      #expect(go.status == 0, "\(go.errorText)")
      let followed = String(decoding: try await follower.readOutput(), as: UTF8.self)
      #expect(followed == (1...2000).map { "line \($0)\n" }.joined())
      #expect(try await ignite("logs", "one").text == followed)
      let folder = "\(ignite.data)/vms/\(try await ignite.vm("one").uid)"
      let sizes = try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "stat -c %s \(folder)/log*"]).text
      let counts = sizes.split(separator: "\n").compactMap { Int($0) }
      #expect(counts.count > 3 && counts.allSatisfy { $0 <= 33 << 10 }, "\(counts)")

      // With fewer files the oldest lines have gone.
      try await ignite.configure("logs:\n  maxSize: 4KiB\n  maxFiles: 3\n")
      try await ignite.succeed("run", "--name", "two", Ignite.image, "seq", "2000")
      let kept = try await ignite("logs", "two").text
      #expect(kept.hasSuffix("\n2000\n") && !kept.hasPrefix("1\n") && kept.utf8.count < 12 << 10)
      for option in ["max-size=1k", "max-size=much", "max-file=0", "mode=blocking"] {
        let refused = try await ignite("run", "--log-opt", option, Ignite.image, "true")
        #expect(refused.status == 125 && refused.errorText.contains("max-size=16m"), "\(refused.errorText)")
      }
      #expect(try await ignite("run", "--log-driver", "syslog", Ignite.image, "true").status == 125)
    }
  }

  @Test func memoryThatTheHostHasNotIsRefused() async throws {
    try await Ignite.with { ignite in
      let total = try await Ignite.run(["/bin/sh", "-c", "awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"]).text
      let mebibytes = try #require(Int(total.filter(\.isNumber)))
      _ = try await ignite.sleeper("--name", "one")
      // Alone it would fit.
      let refused = try await ignite("run", "--name", "large", "-m", "\(mebibytes - 256)m", Ignite.image, "true")
      #expect(refused.status == 125, "\(refused.errorText)")
      #expect(refused.errorText.contains("does not fit") && refused.errorText.contains("1 VM that runs has 512MiB"))
      #expect(refused.errorText.contains("resources.overcommit"))
      // A run that came to nothing leaves nothing.
      #expect(try await ignite.vms().map(\.name) == ["one"])
      try await ignite.configure("resources:\n  overcommit: true\n")
      try await ignite.succeed("create", "--name", "large", "-m", "\(mebibytes - 256)m", Ignite.image, "true")
      let started = try await ignite("start", "large")
      #expect(!started.errorText.contains("does not fit"), "\(started.errorText)")
    }
  }
}
