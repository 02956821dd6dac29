import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Hypervisors that are started ahead. The seed's template is what they are thawed from.
@Suite(.timeLimit(.minutes(10))) struct WarmPool {
  /// Runs `body` with a pool of that size; all that waits is ended afterwards, and has to have left nothing.
  private func with(size: Int, keepIdle: String = "10m", _ body: (Ignite) async throws -> Void) async throws {
    try await Ignite.with { ignite in
      try await ignite.configure("warmPool:\n  size: \(size)\n  keepIdle: \(keepIdle)\n")
      var failure: (any Error)?
      do { try await body(ignite) } catch { failure = error }
      let list = try await ignite.succeed("ps", "-a", "-q").split(separator: "\n").map(String.init)
      if !list.isEmpty { try await ignite(["rm", "-f"] + list) }
      // Who fills the pool may be at it still.
      while try await ignite("template", "fill", Ignite.image).errorText.contains("by another command") {
        try Task.checkCancellation()
      }
      try await ignite.succeed("template", "prune", "-a", "-f")
      if let failure { throw failure }
      for folder in ["data/vms", "data/plans", "run/vms"] {
        let left = try await Ignite.run(Ignite.wrap + ["/bin/ls", "-A", "\(ignite.folder)/\(folder)"]).text
        #expect(left.isEmpty, "\(folder): \(left)")
      }
    }
  }

  /// Waits until so many are ready.
  private func awaitSpares(_ count: Int, _ ignite: Ignite) async throws {
    while try await ignite.templates().reduce(0, { $0 + $1.spares }) != count { try Task.checkCancellation() }
  }

  private struct Line: Decodable {
    struct Identity: Decodable { var pid: Int32 }
    var supervisor: Identity?
    var hypervisor: Identity?
  }

  /// The journals of those that wait: which processes they have.
  private func processes(_ ignite: Ignite) async throws -> (supervisors: [Int32], hypervisors: [Int32]) {
    let script = "cat \(ignite.folder)/data/vms/*/journal"
    let journal = try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", script]).text
    let lines = try journal.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    return (lines.compactMap { $0.supervisor?.pid }, lines.compactMap { $0.hypervisor?.pid })
  }

  @Test func runsTakeWhatWaitsAndMoreIsStarted() async throws {
    try await with(size: 2) { ignite in
      #expect(try await ignite.succeed("template", "fill", Ignite.image) == "2")
      #expect(try await ignite.templates().map(\.spares) == [2])
      // They are nobody's VMs.
      #expect(try await ignite.vms().isEmpty)
      let script = """
        hostname; cat /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address
        head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; date +%s; ls -A /root | wc -l
        """
      var seen: [[String]] = []
      for name in ["one", "two"] {
        let before = time(nil)
        let result = try await ignite("run", "--name", name, "--timings", Ignite.image, "sh", "-c", script)
        let after = time(nil)
        #expect(result.status == 0, "\(result.errorText)")
        #expect(result.errorText.contains("\nspare "), "\(result.errorText)")
        let vm = try await ignite.vm(name)
        #expect(vm.template != nil && vm.phase == "Stopped")
        let lines = result.text.split(separator: "\n").map(String.init)
        #expect(lines.count == 7 && lines.first == String(vm.uid.prefix(12)))
        #expect(Int(lines[5]).map { (before - 1...after + 1).contains($0) } == true, "\(lines)")
        seen.append(Array(lines.prefix(5)))
        try await awaitSpares(2, ignite)
      }
      for (first, second) in zip(seen[0], seen[1]) { #expect(first != second) }
      // A VM that began as a spare is one as any other.
      try await ignite.succeed("start", "one")
      #expect(try await ignite.succeed("wait", "one") == "0")
      #expect(try await ignite("logs", "one").text.split(separator: "\n").count == 14)
    }
  }

  @Test func whatIsAskedForIsToldWhenItIsTaken() async throws {
    try await with(size: 1) { ignite in
      try await ignite.succeed("template", "fill", Ignite.image)
      let port = try LoopbackServer.freePort()
      let script = "mkdir www; hostname > www/index.html; exec busybox httpd -f -p 80 -h www"
      let started = try await ignite(
        "run", "-d", "--timings", "--name", "web", "--hostname", "shop", "-p", "127.0.0.1:\(port):80", "-e", "A=b",
        "-w", "/srv/here", Ignite.image, "sh", "-c", script)
      #expect(started.status == 0 && started.errorText.contains("\nspare "), "\(started.errorText)")
      var page = ""
      while !page.contains("shop") {
        page = LoopbackServer.get(port: port, path: "/index.html") ?? ""
        try Task.checkCancellation()
      }
      #expect(try await ignite.succeed("exec", "web", "sh", "-c", "echo $A; cat /etc/hostname") == "b\nshop")
      #expect(try await ignite.succeed("exec", "web", "grep", "-c", "shop", "/etc/hosts") == "1")
      try await ignite.succeed("pause", "web")
      try await ignite.succeed("unpause", "web")
      try await ignite.succeed("restart", "-t", "1", "web")
      try await awaitSpares(1, ignite)
      let failed = try await ignite("run", "--rm", "--timings", Ignite.image, "nothing-of-the-kind")
      #expect(failed.status == 127)
      #expect(failed.errorText.contains("nothing-of-the-kind"))
      #expect(try await ignite.vms().map(\.name) == ["web"])
    }
  }

  @Test func otherKindsAreStartedAsEver() async throws {
    try await with(size: 1) { ignite in
      try await ignite.succeed("template", "fill", Ignite.image)
      for options in [["-m", "160m"], ["--cold"], ["-s", "1g"]] {
        let result = try await ignite(["run", "--rm", "--timings"] + options + [Ignite.image, "echo", "hi"])
        #expect(result.text == "hi\n" && !result.errorText.contains("\nspare "), "\(options): \(result.errorText)")
      }
      try await awaitSpares(1, ignite)
      // Of another image: the one that has waited longest makes room.
      try await ignite.succeed("image", "tag", Ignite.image, "localhost/same:latest")
      try await ignite.importWithMachineID(try await TestImage.layout())
      #expect(try await ignite.succeed("template", "fill", "localhost/mid:latest") == "1")
      try await awaitSpares(1, ignite)
      let other = try await ignite("run", "--rm", "--timings", "localhost/same:latest", "true")
      #expect(other.status == 0 && !other.errorText.contains("\nspare "))
    }
  }

  @Test func oneThatWasKilledIsNobodys() async throws {
    try await with(size: 1) { ignite in
      for killsSupervisor in [true, false] {
        try await ignite.succeed("template", "fill", Ignite.image)
        let processes = try await processes(ignite)
        let victim = try #require(killsSupervisor ? processes.supervisors.last : processes.hypervisors.last)
        try await Ignite.run(["/bin/kill", "-9", "\(victim)"])
        let result = try await ignite("run", "--rm", Ignite.image, "echo", "hi")
        #expect(result.text == "hi\n" && result.status == 0, "\(result.errorText)")
        // The run has the pool filled again, and what the dead one left taken back.
        try await awaitSpares(1, ignite)
        for pid in processes.hypervisors + processes.supervisors {
          #expect(hasEnded(pid), "process \(pid)")
        }
        try await ignite.succeed("template", "prune", "-a", "-f")
        try await ignite.succeed("template", "build")
      }
    }
  }

  @Test func oneThatNobodyTakesEnds() async throws {
    try await with(size: 2, keepIdle: "1s") { ignite in
      try await ignite.succeed("template", "fill", Ignite.image)
      let processes = try await processes(ignite)
      #expect(processes.supervisors.count == 2)
      try await awaitSpares(0, ignite)
      for pid in processes.supervisors { while !hasEnded(pid) { try Task.checkCancellation() } }
      let result = try await ignite("run", "--rm", Ignite.image, "echo", "hi")
      #expect(result.text == "hi\n")
    }
  }

  @Test func manyAtOnceTakeOneEach() async throws {
    try await with(size: 3) { ignite in
      try await ignite.succeed("template", "fill", Ignite.image)
      let results = try await withThrowingTaskGroup(of: Program.Result.self) { group in
        for _ in 0..<6 {
          group.addTask { try await ignite("run", "--rm", "--timings", Ignite.image, "hostname") }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(results.allSatisfy { $0.status == 0 }, "\(results.map(\.errorText))")
      #expect(Set(results.map(\.text)).count == 6)
      #expect(results.filter { $0.errorText.contains("\nspare ") }.count >= 3)
    }
  }

  @Test func withTheTemplateOrTheImageTheyGo() async throws {
    try await with(size: 1) { ignite in
      try await ignite.succeed("template", "fill", Ignite.image)
      try await ignite.succeed("image", "rm", Ignite.image)
      try await awaitSpares(0, ignite)
      let none = try await ignite("template", "fill", Ignite.image)
      #expect(none.status == 1 && none.errorText.contains("no image "), "\(none.errorText)")
    }
  }

  @Test func anEmptyPoolSaysSo() async throws {
    try await Ignite.with { ignite in
      let off = try await ignite("template", "fill", Ignite.image)
      #expect(off.status == 1 && off.errorText.contains("the warm pool is off"), "\(off.errorText)")
      try await ignite.configure("warmPool:\n  size: 1\n")
      let none = try await ignite("template", "fill", "-m", "160m", Ignite.image)
      #expect(none.status == 1 && none.errorText.contains("there is no template of this kind"), "\(none.errorText)")
    }
  }
}
