import Glibc
import IgniteSystem
import Testing

/// From an image to a process's end.
@Suite(.timeLimit(.minutes(5))) struct Boot {
  @Test func outputAndStatusAreTheProcesss() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", Ignite.image, "sh", "-c", "echo out; echo err >&2; exit 7")
      #expect(result.status == 7)
      #expect(result.text == "out\n")
      #expect(result.errorText.hasSuffix("err\n"))
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
    }
  }

  @Test func bytesArriveAsTheyAre() async throws {
    try await Ignite.with { ignite in
      let bytes = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 3)) }
      let result = try await ignite(["run", "--rm", "-i", Ignite.image, "cat"], input: bytes)
      #expect(result.status == 0)
      #expect(result.output == bytes)
    }
  }

  @Test func theProcessHasItsEnvironment() async throws {
    try await Ignite.with { ignite in
      let script = "id -u; id -g; id -G; pwd; hostname; echo $COLOUR $EXTRA $HOME $HOSTNAME; cat /proc/1/comm"
      let result = try await ignite(
        "run", "--rm", "-u", "alice", "-w", "/srv/new", "-e", "EXTRA=b c", "-e", "COLOUR=blue", "--hostname", "box",
        Ignite.image, "sh", "-c", script)
      #expect(result.status == 0, "\(result.errorText)")
      #expect(
        result.text.split(separator: "\n").map(String.init) == [
          "1000", "1000", "1000 29 50", "/srv/new", "box", "blue b c /home/alice box", "init",
        ])
    }
  }

  @Test func usersByNumber() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", "-u", "4000:5000", Ignite.image, "sh", "-c", "id -u; id -g")
      #expect(result.text == "4000\n5000\n")
      let unknown = try await ignite("run", "--rm", "-u", "nobodyknows", Ignite.image, "true")
      #expect(unknown.status == 125)
      #expect(unknown.errorText.contains("nobodyknows"))
    }
  }

  @Test func entrypointsFollowDocker() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", "--entrypoint", "echo", Ignite.image, "-n", "--name", "x")
      #expect(result.text == "--name x")
    }
  }

  @Test func aProgramThatIsNotThereIs127() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", Ignite.image, "no-such-program")
      #expect(result.status == 127)
      #expect(result.errorText.contains("no-such-program"))
      #expect(result.errorText.split(separator: "\n").count == 1)
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
    }
  }

  @Test(arguments: ["/srv/plain", "/srv", "/usr/local/bin/lost"])
  func whatCannotBeExecutedIs126Or127(path: String) async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", Ignite.image, path)
      // A script whose interpreter is missing is ENOENT to the kernel, and 127 to docker.
      #expect(result.status == (path.hasSuffix("lost") ? 127 : 126), "\(result.errorText)")
      #expect(result.errorText.contains(path))
    }
  }

  @Test func aSignalsStatusIs128AndItsNumber() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", Ignite.image, "sh", "-c", "kill -USR1 $$")
      #expect(result.status == 138)
    }
  }

  @Test func signalsReachTheProcess() async throws {
    try await Ignite.with { ignite in
      let running = try ignite.start(
        "run", "--rm", Ignite.image, "sh", "-c", "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
      )
      #expect(try await running.readOutput(until: "ready\n") == "ready\n")
      try running.signal(SIGTERM)
      #expect(try await running.readOutput(until: "got\n") == "got\n")
      #expect(await running.ended() == 9)
    }
  }

  @Test func aDetachedVMLivesOnAndLogs() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.succeed(
        "run", "-d", "--name", "web", "-l", "app=shop", Ignite.image, "sh", "-c",
        "echo hello; echo oops >&2; exec sleep 3600")
      #expect(uid.count == 16)
      #expect(try await ignite.succeed("ps", "-q") == String(uid.prefix(12)))
      let list = try await ignite.succeed("ps")
      #expect(list.contains("web") && list.contains("Up"))
      // Written after the process was started, so it may take a moment.
      var log = try await ignite("logs", "web")
      while log.text.isEmpty || log.errorText.isEmpty { log = try await ignite("logs", "web") }
      #expect(log.text == "hello\n")
      #expect(log.errorText == "oops\n")
      #expect(try await ignite("rm", "web").status == 1)
      #expect(try await ignite.succeed("stop", "-t", "1", "web") == "web")
      #expect(try await ignite.succeed("ps", "-q") == "")
      #expect(try await ignite.succeed("wait", String(uid.prefix(6))) == "143")
      #expect(try await ignite.succeed("rm", "web") == "web")
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
    }
  }

  @Test func logsFollowUntilTheEnd() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.succeed(
        "run", "-d", "--name", "counter", Ignite.image, "sh", "-c",
        "for n in 1 2 3 4 5; do echo $n; sleep 0.2; done; printf last")
      #expect(try await ignite("logs", "-f", "counter").text == "1\n2\n3\n4\n5\nlast")
      #expect(try await ignite("logs", "-n", "2", "counter").text == "5\nlast")
      #expect(try await ignite.succeed("wait", "counter") == "0")
    }
  }

  @Test func aStoppedVMStartsAgainWithItsDisk() async throws {
    try await Ignite.with { ignite in
      let first = try await ignite(
        "run", "--name", "twice", Ignite.image, "sh", "-c", "cat /kept 2>/dev/null; echo was here > /kept; sync")
      #expect(first.status == 0, "\(first.errorText)")
      #expect(first.text == "")
      let second = try await ignite("start", "-a", "twice")
      #expect(second.status == 0, "\(second.errorText)")
      #expect(second.text == "was here\n")
    }
  }

  @Test func theClocksAgree() async throws {
    try await Ignite.with { ignite in
      let running = try ignite.start(
        "run", "--rm", "-i", Ignite.image, "sh", "-c",
        "for n in 1 2 3; do read x; cut -d' ' -f1 /proc/uptime; done")
      func now() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
      }
      // What the guest reads lies between the host's two times, however long the way is.
      func mark() async throws -> (guest: Double, host: ClosedRange<Double>) {
        let asked = now()
        _ = write(running.input.number, "\n", 1)
        let guest = try await running.readOutput(until: "\n").trimmingSuffix()
        return (try #require(Double(guest)), asked...now())
      }
      // The first of all takes longer than the others, in the guest and on the way.
      _ = try await mark()
      let before = try await mark()
      // The span that is measured, not a wait for anything.
      try await Task.sleep(for: .seconds(20))
      let after = try await mark()
      let guest = after.guest - before.guest
      let least = after.host.lowerBound - before.host.upperBound
      let most = after.host.upperBound - before.host.lowerBound
      #expect(
        guest > least * 0.99 && guest < most * 1.01, "\(guest) s passed for the guest, \(least) to \(most) for the host"
      )
      #expect(await running.ended() == 0)
    }
  }

  @Test func theWallClockIsTheHosts() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", Ignite.image, "date", "+%s")
      let guest = try #require(Int(result.text.trimmingSuffix()))
      #expect(abs(guest - time(nil)) < 60)
    }
  }

  @Test func severalProcessors() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("run", "--rm", "--cpus", "2", "-m", "256m", Ignite.image, "nproc")
      #expect(result.text == "2\n", "\(result.errorText)")
    }
  }

  @Test func theKernelsModulesAreThere() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite(
        "run", "--rm", Ignite.image, "sh", "-c",
        "ls /lib/modules/$(uname -r)/modules.dep && modprobe dummy && ls /sys/class/net")
      #expect(result.status == 0, "\(result.errorText)")
      #expect(result.text.contains("dummy0"))
    }
  }

  @Test func anImagesOwnInitIsPID1OfAMachine() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.succeed("run", "--name", "box", "--boot", "machine", Ignite.image, "/bin/init")
      #expect(uid.count == 16)
      #expect(try await ignite.succeed("exec", "box", "readlink", "/proc/1/exe") == "/bin/busybox")
      #expect(try await ignite.succeed("exec", "box", "hostname") == String(uid.prefix(12)))
      #expect(try await ignite.succeed("stop", "-t", "30", "box") == "box")
      #expect(try await ignite.vm("box").phase == "Stopped")
    }
  }

  @Test func aTerminalIsATerminal() async throws {
    try await Ignite.with { ignite in
      let terminal = try Pseudoterminal(rows: 33, columns: 111)
      let command = ignite.command([
        "run", "--rm", "-it", Ignite.image, "sh", "-c", "tty; stty size; read x; echo got $x; exit 3",
      ])
      let process = try terminal.launch(command)
      #expect(try await terminal.read(until: "33 111").contains("/dev/pts/"))
      terminal.write("abc\r")
      #expect(try await terminal.read(until: "got abc").contains("got abc"))
      #expect(await process.ended() == 3)
    }
  }
}
