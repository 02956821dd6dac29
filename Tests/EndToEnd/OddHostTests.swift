import FoundationEssentials
import Glibc
import Testing

/// Hosts on which something is not as it should be: file systems that take no writes, clocks that jump.
@Suite(.timeLimit(.minutes(10))) struct OddHosts {
  /// In a mount namespace of its own, where the data directory is read-only.
  private func readOnly(_ ignite: Ignite, _ script: String) async throws -> Program.Result {
    var program = ignite.command([])
    let all = """
      set -u
      ignite=$1 data=$2
      mount --bind "$data" "$data" && mount -o remount,bind,ro "$data" || exit 99
      \(script)
      """
    program.arguments =
      ["unshare", "-m", "bash", "-c", all, "read-only", Ignite.program, ignite.data].withAbsoluteFirst()
    return try await program.run()
  }

  @Test(.enabled(if: Ignite.isRoot, "root is needed to mount a directory read-only"), arguments: [true, false])
  func aDataDirectoryThatIsReadOnly(_ databaseIsOpen: Bool) async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      try await ignite.succeed("create", "--name", "two", Ignite.image, "true")
      // The last one that closes the database takes its log away; where another has it open the log is there.
      let follower = databaseIsOpen ? try ignite.start("events") : nil
      let looks = try await readOnly(
        ignite,
        """
        for command in "ps -a" "inspect one two" "logs one" "exec one echo hi" "image ls" "kernel ls" "volume ls" \\
          "system df" "gc --dry-run" "stats --no-stream" "pause one" "unpause one" "stop -t 1 one"; do
          $ignite $command > /dev/null || echo "$command: $?"
        done
        $ignite ps -a --filter status=exited -q | wc -l
        """)
      #expect(looks.text == "1\n" && looks.errorText.isEmpty, "\(looks.text) \(looks.errorText)")
      let writes = try await readOnly(
        ignite,
        """
        for command in "create \(Ignite.image) true" "start two" "rm two" "rename two three" "volume create x" \\
          "image rm -f \(Ignite.image)" "update --restart always two"; do
          $ignite $command > /dev/null; echo $?
        done
        """)
      #expect(writes.text == String(repeating: "1\n", count: 7), "\(writes.text)")
      let lines = writes.errorText.split(separator: "\n")
      #expect(lines.count == 7 && lines.allSatisfy { $0.contains(ignite.data) }, "\(writes.errorText)")
      #expect(lines.allSatisfy { $0.lowercased().contains("read-only file system") }, "\(writes.errorText)")
      if let follower {
        try follower.signal(SIGINT)
        _ = await follower.ended()
      }
      // Nothing is lost, and what was ended is noted down now.
      #expect(Set(try await ignite.vms().map(\.phase)) == ["Stopped", "Created"])
      try await ignite.succeed("gc")
      try await ignite.succeed("start", "one")
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
    }
  }

  /// Adds so many seconds to the wall clock that a program sees; what is measured from the host's start stays.
  private static let clock = """
    #define _GNU_SOURCE
    #include <stdlib.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>
    static long ahead(void) { const char *text = getenv("CLOCK_AHEAD"); return text ? atol(text) : 0; }
    int clock_gettime(clockid_t clock, struct timespec *now) {
      int result = syscall(SYS_clock_gettime, clock, now);
      if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
      return result;
    }
    int gettimeofday(struct timeval *now, void *zone) {
      struct timespec exact;
      clock_gettime(CLOCK_REALTIME, &exact);
      now->tv_sec = exact.tv_sec;
      now->tv_usec = exact.tv_nsec / 1000;
      return 0;
    }
    time_t time(time_t *now) {
      struct timespec exact;
      clock_gettime(CLOCK_REALTIME, &exact);
      if (now) *now = exact.tv_sec;
      return exact.tv_sec;
    }
    """

  /// The clock of a command is years ahead, or behind, as it is when it is set while VMs run.
  @Test(arguments: [345_600_000, -345_600_000]) func aClockThatJumps(_ seconds: Int) async throws {
    try await Ignite.with { ignite in
      let library = "\(ignite.folder)/clock.so"
      let compiler = Program(
        arguments: ["/usr/bin/gcc", "-shared", "-fPIC", "-O1", "-o", library, "-x", "c", "-"],
        environment: ["PATH": "/usr/bin:/bin"], input: Array(Self.clock.utf8))
      let compiled = try await compiler.run()
      try #require(compiled.status == 0, "\(compiled.errorText)")
      let jumped = ["LD_PRELOAD": library, "CLOCK_AHEAD": "\(seconds)"]
      func run(_ words: [String]) async throws -> Program.Result {
        try await ignite.command(words, extra: jumped).run()
      }
      func succeed(_ words: String...) async throws -> String {
        let result = try await run(words)
        #expect(result.status == 0, "\(words): \(result.errorText)")
        return result.text.trimmingSuffix()
      }
      _ = try await ignite.sleeper(
        "--name", "before", "--restart", "always", "--health-cmd", "true", "--health-interval", "200ms")
      try await ignite.succeed("volume", "create", "-s", "64m", "data")
      #expect(try await succeed("exec", "before", "echo", "hi") == "hi")
      #expect(
        try await succeed("run", "-d", "--name", "after", "-v", "data:/data", Ignite.image, "sleep", "3600").count == 16
      )
      // What the command that started it believes, its guest does.
      #expect(
        try await ignite.succeed("exec", "after", "date", "+%Y") == ignite.succeed("exec", "before", "date", "+%Y"))
      for words in [["ps", "-a"], ["stats", "--no-stream"], ["system", "df"], ["image", "ls"], ["volume", "ls"]] {
        let result = try await run(words)
        #expect(result.status == 0 && !result.text.isEmpty, "\(words): \(result.errorText)")
      }
      #expect(try await succeed("ps", "-a").contains("10 years ago") == (seconds > 0))
      // Nothing that is needed is too old, or from the future.
      _ = try await succeed("gc")
      _ = try await succeed("system", "prune", "-f")
      _ = try await succeed("restart", "-t", "1", "before")
      _ = try await succeed("pause", "before")
      _ = try await succeed("unpause", "before")
      let healthy = try await run(["wait", "--condition", "healthy", "before"])
      #expect(healthy.status == 0, "\(healthy.errorText)")
      _ = try await succeed("stop", "-t", "1", "before", "after")
      for name in ["before", "after"] {
        try await ignite.succeed("start", name)
        #expect(try await ignite.succeed("exec", name, "echo", "hi") == "hi")
      }
      #expect(try await ignite.succeed("run", "--rm", Ignite.image, "echo", "hi") == "hi")
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
    }
  }
}
