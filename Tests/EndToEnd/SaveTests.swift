import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// What `image save` writes, read by the tools that it is for; and what `image verify` finds.
@Suite(.timeLimit(.minutes(5))) struct SavedImages {
  private struct Inspection: Decodable {
    var Digest: String
    var Layers: [String]
  }

  private func inspect(_ source: String) async throws -> Inspection {
    let text = try await Ignite.run(["skopeo", "inspect", "--no-tags", source]).text
    return try JSONDecoder().decode(Inspection.self, from: Data(text.utf8))
  }

  @Test func othersReadAnOCIArchive() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "localhost/test:test")
      let archive = ignite.folder + "/test.tar"
      try await ignite.succeed("image", "save", "-o", archive, "localhost/test:test")
      let original = try await inspect("oci:\(layout):test")
      let saved = try await inspect("oci-archive:\(archive):test")
      #expect(saved.Digest == original.Digest)
      #expect(saved.Layers == original.Layers)
      // Standard output carries the same bytes.
      let piped = try await ignite("image", "save", "localhost/test:test")
      #expect(piped.status == 0)
      #expect(piped.output == Array(try #require(FileManager.default.contents(atPath: archive))))
      // umoci reads what is in it.
      try await Ignite.run(["sh", "-c", "mkdir \(ignite.folder)/out && tar -C \(ignite.folder)/out -xf \(archive)"])
      let stat = try await Ignite.run(["umoci", "stat", "--image", "\(ignite.folder)/out:test", "--json"])
      #expect(stat.text.contains(original.Layers[0]))
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: ignite.folder).filter { $0.contains("partial") }.isEmpty)
    }
  }

  @Test func severalImagesShareWhatTheyHaveInCommon() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      let second = try await BuiltImage.layout(in: ignite.folder, "echo second > tree/second")
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "localhost/a:one")
      try await ignite.succeed("image", "import", "oci:\(second):test", "--name", "localhost/b:two")
      try await ignite.succeed("image", "tag", "localhost/a:one", "localhost/a:three")
      for format in ["oci-archive", "docker-archive"] {
        let archive = "\(ignite.folder)/\(format).tar"
        try await ignite.succeed(
          "image", "save", "--format", format, "-o", archive, "localhost/a:one", "localhost/b:two", "localhost/a:three")
        let files = try await Ignite.run(["tar", "-tf", archive]).text.split(separator: "\n")
        #expect(Set(files).count == files.count)
        for (name, image) in [("localhost/a:one", layout), ("localhost/b:two", second), ("localhost/a:three", layout)] {
          let tag = format == "oci-archive" ? String(name.split(separator: ":")[1]) : name
          let read = ignite.folder + "/read"
          try await Ignite.run([
            "skopeo", "--insecure-policy", "copy", "-q", "\(format):\(archive):\(tag)", "oci:\(read):x",
          ])
          // The same files, whatever the packing: equal digests of the layers unpacked.
          func diffIDs(_ source: String) async throws -> String {
            let text = try await Ignite.run(["skopeo", "inspect", "--config", source]).text
            return String(try #require(text.firstMatch(of: /"diff_ids": ?\[([^\]]*)\]/)?.1))
          }
          #expect(try await diffIDs("oci:\(read):x") == diffIDs("oci:\(image):test"))
          try await Ignite.run(["rm", "-rf", read])
        }
      }
    }
  }

  /// What is saved comes back as it was, layers, configuration and base disk.
  @Test func whatIsSavedIsImportedAgain() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await BuiltImage.layout(in: ignite.folder, "echo own > tree/own")
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "localhost/test:1")
      let digest = try await Ignite.digest(of: ignite.onlyDisk())
      let id = try await ignite.succeed("image", "ls", "-q", "--no-trunc")
      for format in ["oci-archive", "docker-archive"] {
        let archive = "\(ignite.folder)/\(format).tar"
        try await ignite.succeed("image", "save", "--format", format, "-o", archive, "localhost/test:1")
        try await ignite.succeed("image", "rm", "localhost/test:1")
        #expect(try ignite.names(in: "disks") == [])
        try await ignite.succeed("image", "import", "\(format):\(archive)", "--name", "localhost/test:1")
        #expect(try await Ignite.digest(of: ignite.onlyDisk()) == digest)
        #expect(try await ignite.succeed("image", "verify", "localhost/test:1").contains("are whole"))
        // The layers of docker's kind are unpacked, so their manifest is another.
        if format == "oci-archive" { #expect(try await ignite.succeed("image", "ls", "-q", "--no-trunc") == id) }
      }
    }
  }

  /// Podman loads both kinds of archive, and pulls what was pushed; it knows images by their configurations' digests.
  @Test func podmanReadsItAll() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      let registry = try await Registry.start(in: ignite.folder + "/registry")
      let name = "\(registry.address)/pushed/test:1"
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", name)
      try await ignite.succeed("image", "push", name)
      let inspected = try await ignite.succeed("image", "inspect", name)
      let config = try #require(inspected.firstMatch(of: /"configDigest" ?: ?"sha256:([^"]+)"/)?.1)
      let podman = [
        "podman", "--root", ignite.folder + "/podman", "--runroot", ignite.folder + "/podman-run", "--storage-driver",
        "vfs",
      ]
      for way in ["oci-archive", "docker-archive", "registry"] {
        if way == "registry" {
          try await Ignite.run(podman + ["pull", "-q", "--tls-verify=false", name])
        } else {
          let archive = "\(ignite.folder)/\(way).tar"
          try await ignite.succeed("image", "save", "--format", way, "-o", archive, name)
          try await Ignite.run(podman + ["load", "-q", "-i", archive])
        }
        let id = try await Ignite.run(podman + ["image", "inspect", "--format", "{{.Id}}", name]).text
        #expect(id.trimmingSuffix() == config, "\(way)")
        try await Ignite.run(podman + ["rmi", "-f", name])
      }
      await registry.end()
    }
  }

  /// Debian's dockerd loads a docker-archive; it knows images by their configurations' digests.
  @Test func dockerLoadsIt() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "things/test:1")
      try await ignite.succeed("image", "tag", "things/test:1", "other/name:2")
      let archive = ignite.folder + "/test.tar"
      try await ignite.succeed(
        "image", "save", "--format", "docker-archive", "-o", archive, "things/test:1", "other/name:2")
      let inspected = try await ignite.succeed("image", "inspect", "things/test:1")
      let config = try #require(inspected.firstMatch(of: /"configDigest" ?: ?"([^"]+)"/)?.1)
      let daemon = try await Dockerd.start(in: ignite.folder + "/docker")
      do {
        try await daemon.docker("load", "-q", "-i", archive)
        for name in ["things/test:1", "other/name:2"] {
          #expect(try await daemon.docker("image", "inspect", "-f", "{{.Id}}", name).text == "\(config)\n")
        }
      } catch {
        await daemon.end()
        throw error
      }
      await daemon.end()
    }
  }

  @Test func aTerminalIsRefusedAndAClosedPipeIsAnError() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "one")
      let terminal = try Pseudoterminal(rows: 24, columns: 80)
      let refused = try terminal.launch(ignite.command(["image", "save", "one"]))
      _ = try await terminal.read(until: "terminal")
      #expect(await refused.ended() == 1)
      let closed = try await Ignite.run([
        "bash", "-c",
        "set -o pipefail; \"$@\" 2>\(ignite.folder)/err | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}", "save",
        Ignite.program, "image", "save", "--data-dir", ignite.data, "one",
      ])
      #expect(closed.text == "1\n")
      #expect(try String(contentsOfFile: ignite.folder + "/err", encoding: .utf8).contains("Broken pipe"))
      let bad = try await ignite("image", "save", "-o", "/no/such/folder/x", "one")
      #expect(bad.status == 1)
      #expect(bad.errorText.contains("/no/such/folder"))
    }
  }

  /// Every kind of damage is named, and mended.
  @Test func damageIsNamedAndMended() async throws {
    try await Ignite.withEmpty { ignite in
      let registry = try await Registry.start(in: ignite.folder + "/registry")
      let name = "\(registry.address)/things/test:1"
      try await ignite.succeed("image", "import", name)
      #expect(try await ignite.succeed("image", "verify", name).hasPrefix(name))
      let disk = try ignite.onlyDisk()
      let digest = try await Ignite.digest(of: disk)
      let blobs = try ignite.names(in: "content/blobs/sha256").map { "\(ignite.data)/content/blobs/sha256/\($0)" }
      func flip(_ path: String) async throws {
        try await Ignite.run([
          "python3", "-c",
          "import os,sys; p=sys.argv[1]; os.chmod(p,0o644); f=open(p,'r+b'); f.seek(os.path.getsize(p)//2); b=f.read(1); f.seek(-1,1); f.write(bytes([b[0]^1])); f.close()",
          path,
        ])
      }
      func damaged(_ words: String...) async throws {
        let found = try await ignite("image", "verify", name)
        #expect(found.status == 1)
        for word in words + ["ignite image verify --repair \(name)"] {
          #expect(found.errorText.contains(word), "\(found.errorText)")
        }
        let mended = try await ignite("image", "verify", "--repair", name)
        #expect(mended.status == 0, "\(mended.errorText)")
        #expect(try await ignite("image", "verify", name).status == 0)
        #expect(try await Ignite.digest(of: ignite.onlyDisk()) == digest)
      }
      for blob in blobs {
        let hex = blob.split(separator: "/").last?.prefix(12) ?? ""
        try await flip(blob)
        try await damaged(String(hex), "does not have its digest")
      }
      try await Ignite.run(["rm", blobs[0]])
      try await damaged("is not there")
      try await flip(disk)
      try await damaged("base disk differs")
      try await Ignite.run(["truncate", "-s", "-4096", disk])
      try await damaged("base disk differs")
      try await Ignite.run(["rm", disk])
      try await damaged("base disk is not there")
      try await ignite.expectEveryByteAccountedFor()
      await registry.end()
    }
  }

  @Test func historyAndLists() async throws {
    try await Ignite.withEmpty { ignite in
      let layout = try await TestImage.layout()
      try await ignite.succeed("image", "import", "oci:\(layout):test", "--name", "debian:12")
      let history = try await ignite.succeed("image", "history", "debian:12")
      #expect(history.hasPrefix("IMAGE "))
      for column in ["CREATED", "CREATED BY", "SIZE", "COMMENT", "<missing>"] { #expect(history.contains(column)) }
      let id = try await ignite.succeed("image", "ls", "-q")
      #expect(history.split(separator: "\n")[1].hasPrefix(id))
      #expect(try await ignite.succeed("image", "history", "-q", "--no-trunc", "debian:12").hasPrefix("sha256:\(id)"))
      #expect(try await ignite.succeed("image", "history", "--format", "json", "debian:12").contains("createdBy"))
      let list = try await ignite.succeed("image", "ls", "--digests")
      #expect(
        list.split(separator: "\n")[0].split(separator: " ").joined(separator: " ")
          == "REPOSITORY TAG DIGEST IMAGE ID CREATED SIZE")
      for (filter, fits) in [
        ("reference=debian", true), ("reference=debian:*", true), ("reference=deb*:12", true),
        ("reference=fedora*", false), ("dangling=true", false), ("label=no", false), ("until=1970-01-01", false),
        ("since=debian:12", false),
      ] {
        let found = try await ignite.succeed("image", "ls", "-q", "-f", filter)
        #expect((found == id) == fits, "\(filter)")
      }
      let wrong = try await ignite("image", "ls", "--format", "{{.Nothing}}")
      #expect(wrong.status == 1)
      #expect(wrong.errorText.contains(".Repository"))
      let table = try await ignite.succeed("image", "ls", "--format", "table {{.ID}}\\t{{.CreatedSince}}")
      #expect(table.hasPrefix("IMAGE ID"))
    }
  }
}
