import Glibc
import Testing

/// Processes beside the VM's own.
@Suite(.timeLimit(.minutes(5))) struct Exec {
  @Test func outputStatusAndEnvironment() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper("--name", "one", "-u", "alice", "-e", "A=1", "-w", "/srv")
      let result = try await ignite(
        "exec", "-e", "B=2", "one", "sh", "-c", "echo $A $B $COLOUR; id -un; pwd; echo err >&2; exit 4")
      #expect(result.status == 4)
      #expect(result.text == "1 2 red\nalice\n/srv\n")
      #expect(result.errorText == "err\n")
      let other = try await ignite("exec", "-u", "0", "-w", "/tmp", String(uid.prefix(8)), "sh", "-c", "id -u; pwd")
      #expect(other.text == "0\n/tmp\n")
    }
  }

  @Test func whatCannotRunHasDockersStatus() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      #expect(try await ignite("exec", "one", "no-such-program").status == 127)
      #expect(try await ignite("exec", "one", "/srv/plain").status == 126)
      #expect(try await ignite("exec", "one").status == 125)
      let missing = try await ignite("exec", "other", "true")
      #expect(missing.status == 125)
      #expect(missing.errorText.contains("\"other\""))
      _ = try await ignite.succeed("stop", "-t", "0", "one")
      let stopped = try await ignite("exec", "one", "true")
      #expect(stopped.status == 125)
      #expect(stopped.errorText.contains("ignite start one"))
    }
  }

  @Test func sixtyFourMegabytesComeBackEqual() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      var state: UInt64 = 0x9E37_79B9_7F4A_7C15
      var bytes = [UInt8](repeating: 0, count: 64 << 20)
      bytes.withUnsafeMutableBytes { buffer in
        for index in 0..<(buffer.count / 8) {
          state ^= state << 13
          state ^= state >> 7
          state ^= state << 17
          buffer.storeBytes(of: state, toByteOffset: index * 8, as: UInt64.self)
        }
      }
      let result = try await ignite(["exec", "-i", "one", "cat"], input: bytes)
      #expect(result.status == 0)
      #expect(result.output == bytes)
    }
  }

  @Test func tenAtOnce() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let results = try await withThrowingTaskGroup(of: (Int, Program.Result).self) { group in
        for number in 0..<10 {
          group.addTask {
            (
              number,
              try await ignite(
                ["exec", "-i", "one", "sh", "-c", "cat; exit \(number)"], input: Array("in \(number)".utf8))
            )
          }
        }
        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
      }
      for number in 0..<10 {
        #expect(results[number]?.status == Int32(number))
        #expect(results[number]?.text == "in \(number)")
      }
    }
  }

  @Test func aReaderThatStopsHoldsUpNobodyElse() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      // Nobody reads this one's output.
      let stuck = try ignite.start("exec", "one", "cat", "/dev/zero")
      for number in 0..<5 {
        #expect(try await ignite.succeed("exec", "one", "echo", "\(number)") == "\(number)")
      }
      try stuck.signal(SIGKILL)
      _ = await stuck.ended()
      // Its process gets a hang-up.
      while try await ignite("exec", "one", "sh", "-c", "pgrep -x cat").status == 0 {}
    }
  }

  /// As docker has it: a process that ends with its VM was killed.
  @Test func theEndOfTheVMIsTheProcesses() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one", "--restart", "always")
      let running = try ignite.start("exec", "one", "sh", "-c", "echo ready; exec sleep 1000")
      #expect(try await running.readOutput(until: "ready\n") == "ready\n")
      // Also where the VM is started again, whose supervisor goes on.
      kill(try #require(try await ignite.vm("one").hypervisor), SIGKILL)
      #expect(await running.ended() == 137)
      while try await ignite("exec", "one", "true").status != 0 { try Task.checkCancellation() }
      let other = try ignite.start("exec", "one", "sh", "-c", "echo ready; exec sleep 1000")
      #expect(try await other.readOutput(until: "ready\n") == "ready\n")
      try await ignite.succeed("rm", "-f", "one")
      #expect(await other.ended() == 137)
    }
  }

  @Test func signalsReachTheProcess() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let running = try ignite.start(
        "exec", "one", "sh", "-c", "trap 'echo got; exit 6' INT; echo ready; while :; do sleep 0.1; done")
      #expect(try await running.readOutput(until: "ready\n") == "ready\n")
      try running.signal(SIGINT)
      #expect(await running.ended() == 6)
    }
  }

  @Test func aTerminalFollowsItsSize() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let terminal = try Pseudoterminal(rows: 20, columns: 70)
      let process = try terminal.launch(ignite.command(["exec", "-it", "one", "sh"]))
      terminal.write("stty size\r")
      _ = try await terminal.read(until: "20 70")
      try terminal.resize(rows: 41, columns: 99, process: process)
      // The signal and the keys race: asked until it is so.
      terminal.write("until stty size | grep '41 99'; do :; done\r")
      _ = try await terminal.read(until: "\n41 99")
      terminal.write("exit 12\r")
      #expect(await process.ended() == 12)
    }
  }

  @Test func anEndOfInputIsPassedOn() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      let result = try await ignite(["exec", "-i", "one", "wc", "-c"], input: [])
      #expect(result.text.trimmingSuffix() == "0")
    }
  }
}
