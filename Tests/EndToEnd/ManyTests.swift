import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// VMs by the dozen: as much is there afterwards as before, and what supervises them is small.
@Suite(.timeLimit(.minutes(600))) struct ManyVMs {
  /// Files and bytes of the two directories, and processes that work there.
  private func state(_ ignite: Ignite) async throws -> String {
    let script = """
      find \(ignite.folder)/data \(ignite.folder)/run | grep -v -e '/events' -e 'ignite.db' -e '-announced' | sort
      du -s --block-size=1 --exclude='events*' --exclude='ignite.db*' \(ignite.folder)/data | cut -f1
      """
    return try await Ignite.run(Ignite.wrap + ["/bin/bash", "-c", script]).text
  }

  @Test func nothingGrows() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("run", "--rm", Ignite.image, "true")
      try await ignite.succeed("gc")
      let before = try await state(ignite)
      let total = Ignite.rounds(50, soak: 1000)
      var made = 0
      while made < total {
        let count = min(Ignite.rounds(10, soak: 20), total - made)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in made..<(made + count) {
            group.addTask {
              let ran = try await ignite("run", "--name", "vm\(number)", Ignite.image, "echo", "\(number)")
              #expect(ran.status == 0 && ran.text == "\(number)\n", "\(ran.errorText)")
              try await ignite.succeed("rm", "vm\(number)")
            }
          }
          try await group.waitForAll()
        }
        made += count
      }
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.succeed("gc", "--dry-run") == "")
      let after = try await state(ignite)
      let (old, new) = (Set(before.split(separator: "\n")), Set(after.split(separator: "\n")))
      #expect(old == new, "gone: \(old.subtracting(new).sorted()), new: \(new.subtracting(old).sorted())")
    }
  }

  private func size(_ path: String) throws -> Int {
    var info = stat()
    guard stat(path, &info) == 0 else { throw SystemError("look at \(path)") }
    return Int(info.st_size)
  }

  /// Private and proportional memory of a process in KiB.
  private func memory(_ pid: Int32) throws -> (own: Int, proportional: Int) {
    let text = try String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8)
    func value(_ name: String) -> Int {
      text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        .flatMap { $0.split(separator: " ").dropFirst().first.flatMap { Int($0) } } ?? 0
    }
    return (value("Private_Dirty") + value("Private_Clean"), value("Pss"))
  }

  /// The bounds are a release build's; a debug build keeps to them as well.
  @Test func supervisorsAreSmall() async throws {
    try await Ignite.with { ignite in
      let count = Ignite.rounds(5, soak: 20)
      for _ in 0..<count {
        let made = try await ignite(
          "run", "-d", "-m", "128m", "--cold", Ignite.image, "sh", "-c",
          "while :; do yes a line of some length that is written to the log | head -n 40; sleep 1; done")
        #expect(made.status == 0, "\(made.errorText)")
      }
      let supervisors = try await ignite.vms().compactMap(\.supervisor)
      #expect(supervisors.count == count)
      func measured() throws -> (Int, Int) {
        let each = try supervisors.map(memory)
        return (each.map(\.own).max() ?? 0, each.map(\.proportional).max() ?? 0)
      }
      let first = try measured()
      // For an hour in the soak; in the test until each has written some hundred lines more.
      if Ignite.variables["SOAK"] == "1" { try await Task.sleep(for: .seconds(3600)) }
      for vm in try await ignite.vms() {
        let log = "\(ignite.data)/vms/\(vm.uid)/log"
        let before = try size(log)
        while try size(log) < before + 20_000 { try await Task.sleep(for: .milliseconds(50)) }
      }
      let last = try measured()
      print(
        "supervisors of \(count) VMs: at most \(first.0) KiB private, \(first.1) KiB PSS; then \(last.0) and \(last.1)")
      #expect(last.0 <= 5 << 10 && last.1 <= 12 << 10, "\(last)")
      #expect(last.0 <= first.0 + 512, "\(first), then \(last)")
    }
  }
}
