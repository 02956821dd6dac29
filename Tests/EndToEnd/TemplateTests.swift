import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Starts from templates. The seed has one, of the default shape.
@Suite(.timeLimit(.minutes(10))) struct Templates {
  @Test func aFirstStartMakesTheTemplateOfTheNext() async throws {
    try await Ignite.with { ignite in
      let shape = ["-m", "160m"]
      let first = try await ignite(["run", "--name", "first", "--timings"] + shape + [Ignite.image, "true"])
      #expect(first.status == 0, "\(first.errorText)")
      #expect(!first.errorText.contains("thaw"))
      #expect(try await ignite.vm("first").template == nil)
      let automatic = ["IGNITE_TEMPLATES": "automatic"]
      let cold = try await ignite.command(["run", "--rm"] + shape + [Ignite.image, "true"], extra: automatic).run()
      #expect(cold.status == 0, "\(cold.errorText)")
      let made = try await ignite.awaitTemplates(2)
      let second = try await ignite(["run", "--name", "second", "--timings"] + shape + [Ignite.image, "echo", "hi"])
      #expect(second.text == "hi\n")
      #expect(second.errorText.contains("\nthaw "), "\(second.errorText)")
      #expect(second.errorText.contains("\nfirst output "))
      let vm = try await ignite.vm("second")
      #expect(made.contains { $0.key == vm.template && $0.memory == 160 << 20 && $0.unusable == nil })
      // The console's log is in the VM's own directory.
      let console = try await Ignite.run(Ignite.wrap + ["/bin/cat", ignite.folder + "/data/vms/\(vm.uid)/console.log"])
      #expect(!console.text.contains("Linux version"))
      #expect(!console.text.contains("booting instead"))
    }
  }

  @Test func coldIsCold() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "warm")
      _ = try await ignite.sleeper("--name", "cold", "--cold")
      #expect(try await ignite.vm("warm").template != nil)
      #expect(try await ignite.vm("cold").template == nil)
      try await ignite.succeed("restart", "-t", "1", "warm", "cold")
      #expect(try await ignite.vm("warm").template != nil)
      #expect(try await ignite.vm("cold").template == nil)
      try await ignite.succeed("stop", "-t", "1", "warm")
      try await ignite.succeed("start", "--cold", "warm")
      #expect(try await ignite.vm("warm").template == nil)
      let off = try await ignite("run", "--timings", Ignite.image, "true", extra: ["IGNITE_TEMPLATES": "off"])
      #expect(off.errorText.contains("\nboot "), "\(off.errorText)")
    }
  }

  /// What a program sees of itself and of its machine.
  private static let identity = """
    hostname; cat /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address /etc/machine-id;
    head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; date +%s
    """

  @Test func twentyClonesAtOnceAreTwentyMachines() async throws {
    try await Ignite.with { ignite in
      let layout = try await TestImage.layout()
      try await ignite.importWithMachineID(layout)
      let began = time(nil)
      let outputs = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 0..<20 {
          group.addTask {
            try await ignite.succeed("run", "--rm", "localhost/mid:latest", "sh", "-c", Self.identity)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let ended = time(nil)
      let lines = outputs.map { $0.split(separator: "\n").map { $0.filter { $0 != " " } } }
      #expect(lines.allSatisfy { $0.count == 7 }, "\(outputs)")
      for index in 0..<6 {
        #expect(Set(lines.map { $0[index] }).count == 20, "line \(index): \(lines.map { $0[index] })")
      }
      for line in lines {
        let clock = try #require(Int(line[6]))
        #expect((began - 1...ended + 1).contains(clock))
        // Never the template's own.
        #expect(line[2].hasPrefix("52:"))
        #expect(line[2] != "52:54:00:12:34:56")
      }
      #expect(try await ignite.templates().count == 1)
    }
  }

  @Test func aWarmVMHasItsNetwork() async throws {
    try await Ignite.with { ignite in
      let port = try LoopbackServer.freePort()
      _ = try await ignite.succeed(
        "run", "-d", "--name", "web", "-p", "127.0.0.1:\(port):80", Ignite.image, "sh", "-c",
        "mkdir /www; echo warm > /www/index.html; exec busybox httpd -f -p 80 -h /www")
      #expect(try await ignite.vm("web").template != nil)
      var page = ""
      while !page.contains("warm") { page = LoopbackServer.get(port: port, path: "/index.html") ?? "" }
      let addresses = try await ignite.succeed("exec", "web", "ip", "-4", "addr", "show", "eth0")
      #expect(addresses.contains("10.0.2.15/24"))
      #expect(try await ignite.succeed("exec", "web", "ip", "route").contains("default via 10.0.2.2"))
      // The link's own IPv6 address comes from the VM's Ethernet address, a moment later.
      let mac = try await ignite.succeed("exec", "web", "cat", "/sys/class/net/eth0/address")
      let tail = mac.split(separator: ":").suffix(2).joined()
      let script = "until ip -6 addr show eth0 | grep -q 'fe80:.*\(tail)/64'; do usleep 50000; done"
      #expect(try await ignite("exec", "web", "sh", "-c", script).status == 0)
    }
  }

  @Test func theDiskStaysFromStartToStart() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "one")
      try await ignite.succeed("exec", "one", "sh", "-c", "echo kept > /root/file; sync")
      try await ignite.succeed("restart", "-t", "1", "one")
      #expect(try await ignite.vm("one").template != nil)
      #expect(try await ignite.succeed("exec", "one", "cat", "/root/file") == "kept")
      #expect(try await ignite.succeed("exec", "one", "ls", "/lib/modules").isEmpty == false)
    }
  }

  @Test func disksOfEverySizeThaw() async throws {
    try await Ignite.with { ignite in
      let key = try await ignite.succeed("template", "build", "-s", "1g")
      let result = try await ignite(
        "run", "--name", "small", "-s", "1g", Ignite.image, "sh", "-c",
        "cat /sys/block/vdb/size; cat /sys/block/vda/size; df -k / | tail -1")
      #expect(result.status == 0, "\(result.errorText)")
      #expect(result.text.hasPrefix("2097152\n33554432\n"))
      #expect(try await ignite.vm("small").template == key)
    }
  }
}

/// Templates that are whole, and of no use: what their digests cannot tell.
@Suite(.timeLimit(.minutes(5))) struct UselessTemplates {
  /// Makes one of the template's files another, and its digest in the record fit it.
  private func change(_ file: String, of ignite: Ignite, digest: String, _ script: String) async throws {
    let key = try #require(try await ignite.templates().first?.key)
    let folder = "\(ignite.data)/templates/\(key)"
    // The seed's files are shared by all tests: this one gets its own.
    let whole = """
      set -eu
      cd \(folder)
      rm \(file)
      \(script)
      chmod 600 \(file)
      digest=$(\(digest) | sha256sum | cut -c1-64)
      sed -E 's/("\(file == "ram" ? "memory" : "state")Digest" : ")[0-9a-f]+/\\1'$digest/ template.json > new
      mv new template.json
      """
    try await Ignite.run(Ignite.wrap + ["/bin/bash", "-c", whole])
  }

  private func startsCold(_ ignite: Ignite) async throws {
    let result = try await ignite("run", "--name", "one", "--timings", Ignite.image, "echo", "hi")
    #expect(result.status == 0 && result.text == "hi\n", "\(result.errorText)")
    #expect(result.errorText.contains("\nboot "), "\(result.errorText)")
    let vm = try await ignite.vm("one")
    #expect(vm.template == nil)
    let console = try await Ignite.run(Ignite.wrap + ["/bin/cat", "\(ignite.data)/vms/\(vm.uid)/console.log"])
    #expect(console.text.contains("booting instead"))
    // It is not tried again.
    #expect(try await ignite.templates().isEmpty)
    #expect(try await ignite.succeed("run", "--rm", Ignite.image, "echo", "again") == "again")
  }

  @Test func aStateThatDoesNotLoad() async throws {
    try await Ignite.with { ignite in
      let size = try await Ignite.run(
        Ignite.wrap + ["/bin/bash", "-c", "stat -c %s \(ignite.data)/templates/*/state"]
      ).text.trimmingSuffix()
      try await change(
        "state", of: ignite, digest: "cat state", "head -c \(size) /dev/zero | tr '\\0' x > state")
      try await startsCold(ignite)
    }
  }

  /// A host that has no memory left for a machine: neither way starts it, and that says nothing of the template.
  @Test func aHostThatIsShortOfMemory() async throws {
    try await Ignite.with { ignite in
      // The keeper is there before: it is no part of what is short.
      try await ignite.succeed("run", "--rm", Ignite.image, "true")
      let command = ignite.command(["run", Ignite.image, "true"])
      let short = Program(
        arguments: Ignite.wrap + ["/usr/bin/prlimit", "--as=1400000000", Ignite.program, "run", Ignite.image, "true"],
        environment: command.environment)
      let result = try await short.run()
      #expect(result.status == 125)
      #expect(result.errorText.contains("QEMU could not start the machine"), "\(result.errorText)")
      #expect(result.errorText.contains("memory") && result.errorText.split(separator: "\n").count == 1)
      #expect(try await ignite.vms().isEmpty)
      #expect(try await ignite.templates().count == 1)
    }
  }

  @Test func aMemoryWithNothingInIt() async throws {
    try await Ignite.with { ignite in
      // Of a memory that is all zero the digest is that of its size: 512 MiB in eight bytes.
      try await change(
        "ram", of: ignite, digest: "printf '\\0\\0\\0\\040\\0\\0\\0\\0'", "truncate -s 512M ram")
      try await startsCold(ignite)
    }
  }
}

/// Many starts, and nothing left of them.
@Suite(.serialized, .timeLimit(.minutes(60))) struct WarmStarts {
  /// Files, bytes, and the processes that work in the directory, but for the template's keeper.
  private func traces(_ ignite: Ignite) async throws -> String {
    let script = """
      cd \(ignite.folder)
      find data run -mindepth 1 ! -path 'data/ignite.db*' ! -name used -printf '%p %y\\n' | sort
      du -s --block-size=1 data/disks data/kernels data/templates data/vms data/plans
      """
    var text = try await Ignite.run(Ignite.wrap + ["/bin/bash", "-c", script]).text
    for keeper in try await ignite.templates().compactMap(\.keeper) {
      let count = try await Ignite.run(["/bin/bash", "-c", "ls /proc/\(keeper)/fd | wc -l"]).text
      text += "keeper's descriptors: \(count)"
    }
    return text
  }

  @Test func oneAfterAnother() async throws {
    try await Ignite.with { ignite in
      // The first starts the keeper.
      try await ignite.succeed("run", "--rm", Ignite.image, "true")
      let before = try await traces(ignite)
      for _ in 0..<Ignite.rounds(20, soak: 500) {
        let result = try await ignite("run", "--rm", "--timings", Ignite.image, "true")
        #expect(result.status == 0 && result.errorText.contains("\nthaw "), "\(result.errorText)")
      }
      #expect(try await traces(ignite) == before)
    }
  }

  @Test func twentyAtOnce() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("run", "--rm", Ignite.image, "true")
      let before = try await traces(ignite)
      for _ in 0..<Ignite.rounds(1, soak: 10) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<20 {
            group.addTask {
              let said = try await ignite.succeed(
                "run", "--rm", "-d", "--name", "n\(number)", Ignite.image, "sleep", "600")
              #expect(try await ignite.succeed("exec", said, "echo", "\(number)") == "\(number)")
            }
          }
          try await group.waitForAll()
        }
        #expect(try await ignite.vms().allSatisfy { $0.template != nil })
        try await ignite.succeed("rm", "-f", "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9")
        for number in 10..<20 { try await ignite.succeed("stop", "-t", "1", "n\(number)") }
        #expect(try await ignite.vms().isEmpty)
      }
      #expect(try await traces(ignite) == before)
    }
  }
}
