import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// What is kept on disk: names, clean-ups, accounts of every byte.
@Suite(.timeLimit(.minutes(5))) struct Store {
  @Test func aNameMoreAndANameLess() async throws {
    try await Ignite.with { ignite in
      try await ignite.succeed("image", "tag", Ignite.image, "other/name")
      let list = try await ignite.succeed("image", "ls", "--format", "{{.Repository}} {{.Tag}} {{.ID}}")
      #expect(list.contains("localhost/test latest"))
      #expect(list.contains("other/name latest"))
      let digest = try await ignite.succeed("image", "ls", "-q", "--no-trunc", "other/name")
      let unclear = try await ignite("image", "rm", digest)
      #expect(unclear.status == 1)
      #expect(unclear.errorText.contains("several names"), "\(unclear.errorText)")
      _ = try await ignite.succeed("create", "--name", "one", Ignite.image)
      // The other name is left, so the VM's image is.
      try await ignite.succeed("image", "rm", Ignite.image)
      let refused = try await ignite("image", "rm", "other/name")
      #expect(refused.status == 1)
      #expect(refused.errorText.contains("ignite rm one"))
      try await ignite.succeed("image", "rm", "-f", "other/name")
      #expect(try await ignite.succeed("image", "ls", "-q") == "")
      // The VM has its disk still.
      #expect(try ignite.names(in: "disks").count == 1)
      #expect(try ignite.names(in: "content/blobs/sha256").isEmpty)
      try await ignite.succeed("rm", "one")
      try await ignite.succeed("image", "prune", "-a", "-f")
      #expect(try ignite.names(in: "disks").isEmpty)
    }
  }

  @Test func everyByteIsAccountedFor() async throws {
    try await Ignite.with { ignite in
      try await ignite.expectEveryByteAccountedFor()
      _ = try await ignite.sleeper("--name", "up")
      _ = try await ignite.succeed("create", "--name", "down", Ignite.image)
      let rows = try await ignite.usage()
      #expect(rows["VMs"]?.count == 2)
      #expect(rows["VMs"]?.active == 1)
      #expect((rows["VMs"]?.reclaimable ?? 0) > 0)
      #expect(rows["Images"]?.active == 1)
      #expect(rows["Images"]?.reclaimable == 0)
      #expect(rows["Kernels"]?.count == 1)
      // A guest that runs writes at any moment.
      try await ignite.succeed("stop", "up")
      try await ignite.expectEveryByteAccountedFor()
      // What is none of ours is shown.
      try await Ignite.run(["sh", "-c", "head -c 5000 /dev/urandom > \(ignite.data)/stray"])
      #expect(try await ignite.usage()["Unaccounted"]?.count == 1)
      let text = try await ignite.succeed("system", "df", "-v")
      for word in ["stray", "up", "down", "localhost/test:latest", "RECLAIMABLE", "Total"] {
        #expect(text.contains(word), "\(text)")
      }
    }
  }

  /// A dry run lists exactly what a real one then removes.
  @Test func aDryRunTellsTheTruth() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.succeed("create", "--name", "kept", Ignite.image)
      let layout = try await BuiltImage.layout(in: ignite.folder, "echo unused > tree/file")
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "unused")
      // What an import that died would leave.
      try await Ignite.run(Ignite.wrap + ["/bin/sh", "-c", "echo x > \(ignite.data)/content/ingest/1-x.blob"])
      let nothing = try await ignite.succeed("image", "prune", "--dry-run", "--filter", "label=none")
      #expect(nothing.contains("1-x.blob"))
      #expect(!nothing.contains("unused"))
      func listed(_ text: String) -> [Substring] {
        text.split(separator: "\n").filter { !$0.hasSuffix(":") && !$0.contains("pace: ") }
      }
      for command in [["image", "prune", "-a"], ["system", "prune", "-a"]] {
        // One made a moment ago is about to be started, for all that a prune can know.
        if command[0] == "system" {
          try await Ignite.run([
            "python3", "-c",
            "import sqlite3; c = sqlite3.connect('\(ignite.data)/ignite.db'); c.execute('UPDATE objects SET created = created - 3600'); c.commit()",
          ])
        }
        let before = try await ignite.usage().values.reduce(0) { $0 + $1.size }
        let dry = try await ignite(command + ["--dry-run"])
        #expect(dry.status == 0)
        #expect(try await ignite.usage().values.reduce(0) { $0 + $1.size } == before)
        let real = try await ignite(command + ["-f"])
        #expect(real.status == 0)
        #expect(listed(dry.text) == listed(real.text))
        #expect(!listed(real.text).isEmpty)
        let again = try await ignite(command + ["-f"])
        #expect(listed(again.text).isEmpty)
        try await ignite.expectEveryByteAccountedFor()
      }
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
      #expect(try ignite.names(in: "content/blobs/sha256").isEmpty)
      #expect(try ignite.names(in: "disks").isEmpty)
    }
  }

  @Test func aPruneAsksOnATerminalOnly() async throws {
    try await Ignite.with { ignite in
      for command in [["image", "prune", "-a"], ["system", "prune"]] {
        let refused = try await ignite(command)
        #expect(refused.status == 1)
        #expect(refused.errorText.contains("-f"))
      }
      try await ignite.succeed("volume", "create", "named")
      let volume = try await ignite.succeed("volume", "create")
      #expect(try await ignite.succeed("system", "prune", "--volumes", "-f").contains("Deleted volumes:\n\(volume)\n"))
      #expect(try await ignite.succeed("volume", "ls", "-q") == "named")
      let terminal = try Pseudoterminal(rows: 24, columns: 80)
      let asked = try terminal.launch(ignite.command(["image", "prune", "-a"]))
      _ = try await terminal.read(until: "[y/N] ")
      terminal.write("n\n")
      #expect(await asked.ended() == 0)
      #expect(try await ignite.succeed("image", "ls", "-q") != "")
      let second = try Pseudoterminal(rows: 24, columns: 80)
      let agreed = try second.launch(ignite.command(["image", "prune", "-a"]))
      _ = try await second.read(until: "[y/N] ")
      second.write("y\n")
      _ = try await second.read(until: "reclaimed space: ")
      #expect(await agreed.ended() == 0)
      #expect(try await ignite.succeed("image", "ls", "-q") == "")
    }
  }

  /// What a failed import brought stays for its next try, and goes after the grace.
  @Test func blobsHaveAGrace() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "one")
      try await Ignite.run([
        "sh", "-c",
        "cd \(ignite.data)/content/blobs/sha256 && for age in now '2 hours ago'; do d=$(echo $age | sha256sum | cut -c1-64); echo $age > $d; touch -d \"$age\" $d; done",
      ])
      let count = try ignite.names(in: "content/blobs/sha256").count
      try await ignite.succeed("image", "prune", "-f")
      #expect(try ignite.names(in: "content/blobs/sha256").count == count - 1)
      try await ignite.configure("images: {gracePeriod: 0s}\n")
      try await ignite.succeed("image", "prune", "-f")
      #expect(try ignite.names(in: "content/blobs/sha256").count == count - 2)
      #expect(try await ignite.succeed("image", "verify", "one").contains("are whole"))
    }
  }

  @Test func layersNeedNotBeKept() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.configure("images: {keepBlobs: false}\n")
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "one")
      let documents = try ignite.names(in: "content/blobs/sha256")
      #expect(documents.count == 2)
      for command in [["save", "-o", ignite.folder + "/x.tar"], ["verify"], ["push"]] {
        let refused = try await ignite(["image"] + command + ["one"])
        #expect(refused.status == 1)
        #expect(
          refused.errorText.contains(
            "ignite image import --keep-blobs --name docker.io/library/one:latest oci:\(layout):test"),
          "\(refused.errorText)")
      }
      // Another image of the same layers fetches them again, and keeps none either.
      let second = try await BuiltImage.layout(in: ignite.folder, "echo two > tree/two")
      try await ignite.succeed("image", "import", "oci:\(second):test", "--name", "two")
      #expect(try ignite.names(in: "content/blobs/sha256").count == 4)
      try await ignite.succeed("image", "import", "--keep-blobs", "oci:\(layout):test", "--name", "one")
      #expect(try await ignite.succeed("image", "verify", "one").contains("are whole"))
      try await ignite.succeed("image", "prune", "-a", "-f", "--filter", "until=1960-01-01")
      #expect(try await ignite.succeed("image", "verify", "one").contains("are whole"))
      try await ignite.expectEveryByteAccountedFor()
    }
  }

  /// Between the look at the image and the VM's record, where `create` is held up here, the image goes.
  @Test func anImageThatGoesWhileAVMIsMade() async throws {
    try await Ignite.with { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test")
      // The same layers under one name only.
      try await ignite.succeed("image", "rm", Ignite.image)
      for pull in ["missing", "never"] {
        let name = "held-\(pull)"
        var create = ignite.command(["create", "--name", name, "--pull", pull, "oci:\(layout):test"])
        create.arguments =
          ["strace", "-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:delay_enter=1000000:when=1"]
          .withAbsoluteFirst() + create.arguments
        let held = create
        async let created = held.run()
        async let removed = ignite("image", "rm", "localhost/layout:test")
        let (made, gone) = try await (created, removed)
        if made.status == 0 {
          let inspected = try await ignite.succeed("inspect", name)
          let disk = try #require(inspected.firstMatch(of: /"baseDisk" ?: ?"([^"]+)"/)?.1)
          #expect(try ignite.names(in: "disks").contains(String(disk)))
          try await ignite.succeed("rm", name)
        } else {
          #expect(pull == "never" && made.errorText.contains("--pull never"), "\(made.errorText)")
        }
        // On a busy machine the VM may have been there first.
        #expect(gone.status == 0 || gone.errorText.contains("ignite rm \(name)"), "\(gone.errorText)")
        try await ignite.succeed("image", "import", "oci:\(layout):test")
      }
    }
  }

  /// An image that is removed while a VM is made of it leaves no VM without its disk.
  @Test func createAndRemoveAtOnce() async throws {
    try await Ignite.with { ignite in
      let layout = try await TestImage.layout()
      for round in 0..<Ignite.rounds(5, soak: 50) {
        async let created = ignite("create", "--name", "vm\(round)", "oci:\(layout):test")
        async let removed = ignite("image", "rm", "localhost/layout:test")
        let (create, remove) = try await (created, removed)
        #expect(create.status == 0, "\(create.errorText)")
        // Whichever came first: refused for the VM's sake, done before it was made, or there was none yet.
        #expect([0, 1].contains(remove.status))
        let inspected = try await ignite.succeed("inspect", "vm\(round)")
        let disk = try #require(inspected.firstMatch(of: /"baseDisk" ?: ?"([^"]+)"/)?.1)
        #expect(try ignite.names(in: "disks").contains(String(disk)))
        try await ignite.succeed("rm", "vm\(round)")
        _ = try await ignite("image", "import", "oci:\(layout):test")
      }
    }
  }
}
