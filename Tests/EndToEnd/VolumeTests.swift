import FoundationEssentials
import Glibc
import Testing

/// Volumes, devices of the host and memory at places of a VM's file system.
@Suite(.timeLimit(.minutes(10))) struct Volumes {
  struct View: Decodable {
    struct Volume: Decodable {
      struct Metadata: Decodable {
        var name: String
        var uid: String
        var labels: [String: String]?
      }
      struct Spec: Decodable { var size: String }
      struct Status: Decodable {
        struct Claim: Decodable { var vm: String }
        var claims: [Claim]
      }
      var metadata: Metadata
      var spec: Spec
      var status: Status
    }
    var volume: Volume
    var vms: [String]
    var path: String
  }

  static func list(_ ignite: Ignite) async throws -> [View] {
    try JSONDecoder().decode([View].self, from: Data(try await ignite.succeed("volume", "ls", "--format", "json").utf8))
  }

  static func path(_ name: String, _ ignite: Ignite) async throws -> String {
    try #require(try await list(ignite).first { $0.volume.metadata.name == name }).path
  }

  private func refused(_ ignite: Ignite, _ arguments: String..., status: Int32 = 125, saying words: String) async throws
  {
    let result = try await ignite(arguments)
    #expect(result.status == status && result.errorText.contains(words), "\(arguments): \(result.errorText)")
    #expect(result.errorText.split(separator: "\n").count == 1, "\(result.errorText)")
  }

  @Test func oneOutlivesItsVMs() async throws {
    try await Ignite.with { ignite in
      #expect(try await ignite.succeed("volume", "create", "--size", "64m", "-l", "tier=test", "data") == "data")
      try await ignite.succeed("run", "--name", "a", "-v", "data:/data", Ignite.image, "sh", "-c", "echo one > /data/f")
      #expect(try await ignite.succeed("volume", "ls").contains("a "))
      try await ignite.succeed("rm", "a")
      let script = "cat /data/f; df -m /data | tail -1 | tr -s ' ' | cut -d' ' -f2; ls -A /data"
      let words = try await ignite.succeed("run", "--rm", "-v", "data:/data", Ignite.image, "sh", "-c", script)
      let lines = words.split(separator: "\n").map(String.init)
      // Nothing else is on it, not even lost+found, which databases refuse.
      #expect(lines.count == 3 && lines.first == "one" && lines.last == "f", "\(words)")
      #expect((40...64).contains(Int(lines[1]) ?? 0))
      let path = try await Self.path("data", ignite)
      try await Ignite.run(["e2fsck", "-fn", path])
      let label = try await Ignite.run(["dumpe2fs", "-h", path]).text
      #expect(label.contains("Filesystem volume name:   data") && label.contains("has_journal"))
      // One of that name serves; one of another size does not.
      #expect(try await ignite.succeed("volume", "create", "data") == "data")
      try await refused(ignite, "volume", "create", "--size", "1g", "data", status: 1, saying: "of 64MiB")
      #expect(try await ignite.succeed("volume", "rm", "data") == "data")
      #expect(try ignite.names(in: "volumes").isEmpty)
      try await refused(ignite, "volume", "rm", "data", status: 1, saying: "there is no volume")
      #expect(try await ignite.succeed("volume", "rm", "-f", "data") == "data")
    }
  }

  @Test func anonymousOnesGoWithTheirVMWhereThatIsAsked() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("run", "--rm", "-v", "/data", Ignite.image, "touch", "/data/f")
      #expect(try await Self.list(ignite).isEmpty)
      try await ignite.succeed("create", "--name", "a", "-v", "/data", "-v", "named:/named", Ignite.image, "true")
      #expect(
        try await ignite.succeed("volume", "ls", "-q", "--filter", "dangling=false").split(separator: "\n").count == 2)
      try await ignite.succeed("rm", "-v", "a")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "named")
      // docker leaves them with a bare rm, for prune.
      try await ignite.succeed("create", "--name", "b", "-v", "/data", Ignite.image, "true")
      try await ignite.succeed("rm", "b")
      #expect(
        try await ignite.succeed("volume", "ls", "-q", "--filter", "dangling=true").split(separator: "\n").count == 2)
      #expect(try await ignite.succeed("volume", "prune", "--dry-run").hasPrefix("Would delete volumes:"))
      try await ignite.succeed("volume", "prune", "-f")
      #expect(try await ignite.succeed("volume", "ls", "-q") == "named")
      #expect(try await ignite.succeed("system", "df").contains("Volumes"))
      try await ignite.succeed("volume", "prune", "-af")
      #expect(try ignite.names(in: "volumes").isEmpty)
      // A create that comes to nothing leaves none, not even a named one.
      try await refused(
        ignite, "create", "-v", "new:/n", "--name", "c", "-v", "/", Ignite.image, status: 1, saying: "nothing can")
      try await refused(
        ignite, "run", "--name", "c", "-v", "new:/n", "-v", "/dev/full:/f", Ignite.image, "true",
        saying: "no block device")
      #expect(try await Self.list(ignite).isEmpty)
    }
  }

  @Test func anImagesVolumesAreMadeAndFilled() async throws {
    try await Ignite.with { ignite in
      let script = """
        set -eu
        cd "$1"
        cp -r "$2" layout && mkdir -p tree/var/lib/app/deep
        echo content > tree/var/lib/app/deep/file && ln tree/var/lib/app/deep/file tree/var/lib/app/other
        ln -s deep tree/var/lib/app/link && chmod 2750 tree/var/lib/app
        tar -C tree --owner=1000 --group=50 --numeric-owner -cf layer.tar var/lib/app
        umoci --log error raw add-layer --image layout:test --tag vol layer.tar
        umoci --log error config --image layout:vol --config.volume /var/lib/app
        chmod -R go+rX layout
        """
      try await Ignite.run(["bash", "-c", script, "volume-image", ignite.folder, try await TestImage.layout()])
      try await ignite.succeed("image", "import", "oci:\(ignite.folder)/layout:vol", "--name", "vol")
      let look =
        "cd /var/lib/app; stat -c '%U %g %a' .; cat other; readlink link; stat -c %h other; mount | grep -c ' /var/lib/app '"
      let expected = "alice 50 2750\ncontent\ndeep\n2\n1"
      #expect(try await ignite.succeed("run", "--rm", "vol", "sh", "-c", look) == expected)
      #expect(try await Self.list(ignite).isEmpty)
      // A named one in its place is filled once, and keeps what is changed.
      let named = ["run", "--rm", "-v", "app:/var/lib/app", "vol", "sh", "-c"]
      #expect(try await ignite(named + [look]).text == expected + "\n")
      #expect(try await ignite(named + ["rm -r /var/lib/app/*; touch /var/lib/app/own"]).status == 0)
      #expect(try await ignite(named + ["ls -A /var/lib/app"]).text == "own\n")
      // One whose filling was cut short is begun anew.
      let path = try await Self.path("app", ignite)
      try await Ignite.run(["debugfs", "-w", "-R", "ea_set / trusted.ignite.copying \"\"", path])
      #expect(try await ignite(named + [look]).text == expected + "\n")
      try await Ignite.run(["e2fsck", "-fn", path])
      // Neither nocopy nor what is read-only is filled.
      let bare = try await ignite.succeed(
        "run", "--rm", "-v", "bare:/var/lib/app:nocopy", "vol", "sh", "-c", "ls -A /var/lib/app")
      #expect(bare.isEmpty)
    }
  }

  @Test func oneWriterOrManyReaders() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "writer", "-v", "data:/data")
      try await ignite.succeed("exec", "writer", "sh", "-c", "echo x > /data/f; sync")
      for mode in ["", ":ro"] {
        try await refused(
          ignite, "run", "--rm", "-v", "data:/d\(mode)", Ignite.image, "true", saying: "in use by the VM \"writer\"")
      }
      try await refused(ignite, "volume", "rm", "data", status: 1, saying: "in use by the VM \"writer\"")
      #expect(try await Self.list(ignite).first?.volume.status.claims.count == 1)
      // A successor holds it as the lost supervisor did.
      let supervisor = try #require(try await ignite.vm("writer").supervisor)
      kill(supervisor, SIGKILL)
      while !hasEnded(supervisor) { try Task.checkCancellation() }
      #expect(try await ignite.succeed("exec", "writer", "cat", "/data/f") == "x")
      try await refused(
        ignite, "run", "--rm", "-v", "data:/d", Ignite.image, "true", saying: "in use by the VM \"writer\"")
      try await ignite.succeed("kill", "writer")
      try await ignite.succeed("wait", "writer")
      for name in ["r1", "r2"] { _ = try await ignite.sleeper("--name", name, "-v", "data:/data:ro") }
      #expect(try await ignite.succeed("exec", "r2", "cat", "/data/f") == "x")
      let write = try await ignite("exec", "r1", "touch", "/data/g")
      #expect(write.status != 0 && write.errorText.contains("Read-only"))
      try await refused(ignite, "start", "writer", status: 1, saying: "in use by the VM \"r")
      try await ignite.succeed("rm", "-f", "r1", "r2")
      try await ignite.succeed("start", "writer")
      #expect(try await ignite.succeed("exec", "writer", "cat", "/data/f") == "x")
      // One that is removed under a VM is missed by name.
      try await ignite.succeed("stop", "-t", "1", "writer")
      let uid = try #require(try await Self.list(ignite).first?.volume.metadata.uid)
      try await Ignite.run(Ignite.wrap + ["/bin/rm", "\(ignite.data)/volumes/\(uid).ext4"])
      #expect(try await ignite.succeed("volume", "ls").contains("missing"))
      try await refused(ignite, "start", "writer", status: 1, saying: "\(uid).ext4")
    }
  }

  @Test func whatWasNotLeftCleanIsReadOnceItHasBeenWrittenTo() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.sleeper("--name", "writer", "-v", "data:/data")
      try await ignite.succeed("exec", "writer", "sh", "-c", "echo x > /data/f; sync")
      kill(try #require(try await ignite.vm("writer").hypervisor), SIGKILL)
      try await ignite.succeed("wait", "writer")
      let reader = ["run", "--rm", "-v", "data:/data:ro", Ignite.image, "cat", "/data/f"]
      let unclean = try await ignite(reader)
      #expect(unclean.status == 125 && unclean.errorText.contains("not left clean"), "\(unclean.errorText)")
      try await ignite.succeed("run", "--rm", "-v", "data:/data", Ignite.image, "true")
      #expect(try await ignite(reader).text == "x\n")
    }
  }

  /// What it wrote, and did not wait for, is there, and the file system is clean.
  @Test(arguments: [["stop", "-t", "0"], ["stop", "-t", "1"], ["kill"], ["rm", "-f"]])
  func whoHeedsNoSignalIsKilledInTheGuest(_ end: [String]) async throws {
    try await Ignite.with { ignite in
      let script = "trap '' TERM; echo kept > /data/file; echo ready; while :; do sleep 1; done"
      try await ignite.succeed("run", "-d", "--name", "one", "-v", "data:/data", Ignite.image, "sh", "-c", script)
      while !(try await ignite.succeed("logs", "one").contains("ready")) { try Task.checkCancellation() }
      #expect(try await ignite.command(end + ["one"]).run().status == 0)
      if end != ["rm", "-f"] { #expect(try await ignite.succeed("wait", "one") == "137") }
      let path = try await Self.path("data", ignite)
      #expect(try await Ignite.run(["dumpe2fs", "-h", path]).text.contains("Filesystem state:         clean"))
      #expect(
        try await ignite.succeed("run", "--rm", "-v", "data:/data:ro", Ignite.image, "cat", "/data/file") == "kept")
    }
  }

  @Test func memoryIsMounted() async throws {
    try await Ignite.with { ignite in
      let words = try await ignite.succeed(
        "run", "--rm", "--tmpfs", "/a:size=2m,mode=700,exec", "--mount",
        "type=tmpfs,target=/b,tmpfs-size=4096k,readonly",
        "--tmpfs", "/c", Ignite.image, "sh", "-c",
        "mount | grep -E ' /[abc] ' | sort; dd if=/dev/zero of=/a/f bs=1M count=3 || true")
      let lines = words.split(separator: "\n")
      #expect(lines.count >= 3, "\(words)")
      #expect(lines[0].contains("/a type tmpfs (rw,nosuid,nodev,relatime,size=2048k,mode=700"), "\(lines[0])")
      #expect(lines[1].contains("/b type tmpfs (ro,nosuid,nodev,noexec,relatime,size=4096k"), "\(lines[1])")
      #expect(lines[2].contains("/c type tmpfs (rw,nosuid,nodev,noexec,relatime"), "\(lines[2])")
    }
  }

  @Test func aVMWithVolumesThawsToo() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("template", "build", "--volume", "64m", "--volume", "32m:ro")
      try await ignite.succeed("volume", "create", "-s", "64m", "rw")
      try await ignite.succeed("volume", "create", "-s", "32m", "ro")
      for round in 1...2 {
        try await ignite.succeed(
          "run", "-d", "--name", "vm\(round)", "-v", "rw:/a", "-v", "ro:/b:ro", Ignite.image, "sh", "-c",
          "echo \(round) >> /a/f; sync; sleep 3600")
        #expect(try await ignite.vm("vm\(round)").template != nil)
        #expect(
          try await ignite.succeed(
            "exec", "vm\(round)", "sh", "-c", "until [ -s /a/f ]; do :; done; ls /b; df /a | grep -c /a") == "1")
        try await ignite.succeed("stop", "-t", "1", "vm\(round)")
      }
      #expect(try await ignite.succeed("run", "--rm", "-v", "rw:/a", Ignite.image, "cat", "/a/f") == "1\n2")
    }
  }

  @Test(.enabled(if: Ignite.isRoot, "a loop device needs root"))
  func aBlockDeviceOfTheHost() async throws {
    try await Ignite.with { ignite in
      let image = ignite.folder + "/device"
      try await Ignite.run(["bash", "-c", "truncate -s 64M \(image) && mkfs.ext4 -qF \(image)"])
      try await Ignite.withLoopDevice(image) { device in
        let written = try await ignite.succeed(
          "run", "--rm", "-v", "\(device):/d", Ignite.image, "sh", "-c", "echo hi > /d/f; ls /d")
        #expect(written == "f\nlost+found")
        _ = try await ignite.sleeper("--name", "one", "--mount", "type=block,source=\(device),target=/d")
        try await refused(ignite, "run", "--rm", "-v", "\(device):/d", Ignite.image, "true", saying: "is in use")
        try await refused(
          ignite, "run", "--rm", "-v", "\(device):/d:ro", Ignite.image, "true", saying: "stop the other machine")
        // The host does not mount it beside the VM either.
        let mount = try await Program(
          arguments: ["/bin/mount", device, ignite.folder], environment: Ignite.variables
        ).run()
        #expect(mount.status != 0)
        try await ignite.succeed("stop", "-t", "1", "one")
        #expect(try await ignite.succeed("run", "--rm", "-v", "\(device):/d:ro", Ignite.image, "cat", "/d/f") == "hi")
      }
    }
  }

  @Test func badInputIsRefusedByName() async throws {
    try await Ignite.with { ignite in
      for (flags, words) in [
        (["-v", "data:relative"], "no absolute path"), (["-v", "data:/"], "nothing can be mounted at /"),
        (["-v", "data:/../.."], "nothing can be mounted at /"), (["-v", "data:/proc"], "kernel's own"),
        (["-v", "a:/x:rw:no"], "not [SOURCE:]PATH"), (["-v", ""], "not [SOURCE:]PATH"),
        (["-v", ":/x"], "not [SOURCE:]"),
        (["-v", "a:/x:shared"], "no option shared"), (["-v", "_a:/x"], "cannot be a volume's"),
        (["-v", "/no/such/dir:/x"], "is not there"), (["-v", "./x:/x"], "is not there"),
        (["-v", "a:/x", "-v", "b:/x/"], "two things"), (["-v", "a:/x", "-v", "a:/y"], "mounted twice"),
        (["--mount", "type=nfs,target=/x"], "no type nfs"), (["--mount", "source=a"], "no target"),
        (["--mount", "source=a,target=/x,"], "a field is empty"), (["--mount", "source=a,\"target=/x"], "not closed"),
        (["--mount", "type=bind,target=/x"], "no source"),
        (["--mount", "type=block,source=/etc,target=/x"], "no block"),
        (["--mount", "type=tmpfs,target=/x,tmpfs-mode=9"], "no mode"), (["--tmpfs", "/x:size=lots"], "no size"),
        (["--tmpfs", "/x:loop"], "no option loop"), (["--tmpfs", "x"], "no absolute path"),
      ] {
        let result = try await ignite(["run", "--rm"] + flags + [Ignite.image, "true"])
        #expect(result.status == 125 && result.errorText.contains(words), "\(flags): \(result.errorText)")
      }
      let many = try await ignite(["run", "--rm"] + (1...18).flatMap { ["-v", "/v\($0)"] } + [Ignite.image, "true"])
      #expect(many.status == 125 && many.errorText.contains("a machine takes 17"), "\(many.errorText)")
      #expect(try await Self.list(ignite).isEmpty)
      #expect(try await ignite.vms().isEmpty)
      for (flags, words) in [
        (["--size", "1k"], "from 16MiB"), (["--size", "x"], "no size"), (["-d", "nfs"], "no volume driver"),
        (["-o", "type=nfs"], "not possible"), (["../x"], "cannot be a volume's"),
      ] {
        let result = try await ignite(["volume", "create"] + flags)
        #expect(result.status == 1 && result.errorText.contains(words), "\(flags): \(result.errorText)")
      }
    }
  }

  @Test func asManyAsTheMachineTakes() async throws {
    try await Ignite.with { ignite in
      let flags = (1...17).flatMap { ["--mount", "type=volume,target=/v\($0)"] }
      let result = try await ignite(["run", "--rm"] + flags + [Ignite.image, "sh", "-c", "mount | grep -c ' /v'"])
      #expect(result.text == "17\n", "\(result.errorText)")
    }
  }
}
