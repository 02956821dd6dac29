import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Images and kernels from the outside, and what happens when they are not right.
@Suite(.timeLimit(.minutes(5))) struct Images {
  @Test func anImageComesFromARealRegistry() async throws {
    try await Ignite.with { ignite in
      let registry = try await Registry.start(in: ignite.folder + "/registry")
      let name = "\(registry.address)/things/test:1"
      let result = try await ignite("run", "--rm", name, "echo", "from the registry")
      #expect(result.status == 0, "\(result.errorText)")
      #expect(result.text == "from the registry\n")
      #expect(try await ignite.succeed("image", "ls", "--format", "{{.Name}}").contains(name))
      #expect(try await ignite.succeed("image", "inspect", name).contains("manifestDigest"))
      #expect(try await ignite.succeed("image", "rm", name) == name)
      await registry.end()
      let gone = try await ignite("run", name, "true")
      #expect(gone.status == 125)
      #expect(gone.errorText.contains(registry.address))
      #expect(gone.errorText.split(separator: "\n").filter { $0.hasPrefix("ignite: ") }.count == 1)
    }
  }

  @Test func anImageThatAVMUsesStays() async throws {
    try await Ignite.with { ignite in
      _ = try await ignite.succeed("create", "--name", "one", Ignite.image)
      let refused = try await ignite("image", "rm", Ignite.image)
      #expect(refused.status == 1)
      #expect(refused.errorText.contains("ignite rm one"))
      _ = try await ignite.succeed("rm", "one")
      _ = try await ignite.succeed("image", "rm", Ignite.image)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/data/disks").filter {
          $0.hasSuffix(".ext4")
        }.isEmpty)
      #expect(try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/data/content/blobs/sha256").isEmpty)
    }
  }

  @Test func aDamagedLayerIsNamed() async throws {
    try await Ignite.with { ignite in
      // A disk that is there already would serve without a look at the layers.
      _ = try await ignite.succeed("image", "rm", Ignite.image)
      let layout = try await TestImage.layout()
      let copy = ignite.folder + "/layout"
      try await Ignite.run(["cp", "-r", layout, copy])
      try await Ignite.run(["chmod", "-R", "a+rX", copy])
      let blobs = try FileManager.default.contentsOfDirectory(atPath: copy + "/blobs/sha256")
      let largest = try #require(
        blobs.max { size("\(copy)/blobs/sha256/\($0)") < size("\(copy)/blobs/sha256/\($1)") })
      let file = try FileDescriptor.open("\(copy)/blobs/sha256/\(largest)", O_RDWR)
      var byte: UInt8 = 0
      #expect(pread(file.number, &byte, 1, 5000) == 1)
      byte ^= 0x40
      #expect(pwrite(file.number, &byte, 1, 5000) == 1)
      let result = try await ignite("run", "oci:\(copy):test", "true")
      #expect(result.status == 125)
      #expect(result.errorText.contains(String(largest.prefix(12))))
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
      #expect(try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/data/content/ingest").isEmpty)
    }
  }

  @Test func badCommandLinesSayWhatAndWhy() async throws {
    try await Ignite.with { ignite in
      func refused(_ arguments: [String], _ status: Int32, _ words: String...) async throws {
        let result = try await ignite(arguments)
        #expect(result.status == status, "\(arguments)")
        for word in words { #expect(result.errorText.contains(word), "\(arguments): \(result.errorText)") }
        // Beside it there may be lines of an import's progress.
        let lines = result.errorText.split(separator: "\n").filter { $0.hasPrefix("ignite: ") }
        #expect(lines.count == 1, "\(arguments): \(result.errorText)")
        #expect(result.text == "")
      }
      _ = try await ignite.succeed("create", "--name", "taken", Ignite.image)
      try await refused(["run", "--name", "taken", Ignite.image], 125, "taken", "ignite rm taken")
      try await refused(["run", "-m", "16m", Ignite.image], 125, "16MiB", "-m")
      try await refused(["run", "-m", "much", Ignite.image], 125, "much")
      try await refused(["run", "--cpus", "half", Ignite.image], 125, "half", "no number")
      try await refused(["run", "--privileged", Ignite.image], 125, "--privileged")
      try await refused(["run", "-v", "/a:/b", Ignite.image], 125, "/a is not there")
      try await refused(["run", "--no-such-flag", Ignite.image], 125, "--no-such-flag")
      try await refused(["run", "-p", "99999:1", Ignite.image], 125, "99999")
      try await refused(["run", "-k", "no/such:kernel", Ignite.image], 125, "no/such:kernel", "kernel ls")
      try await refused(["run", "BAD NAME"], 125, "BAD NAME")
      try await refused(["run", "oci:/no/such/layout", "true"], 125, "/no/such/layout")
      try await refused(["run", "--pull", "never", "localhost/other:1"], 125, "localhost/other:1")
      try await refused(["run"], 125, "<image>")
      try await refused(["stop", "nobody"], 1, "nobody")
      try await refused(["no-such-command"], 1, "no-such-command")
      try await refused(["ps", "--format", "xml"], 1, "xml")
      try await refused(["kernel", "import", "/no/such.deb"], 1, "/no/such.deb")
      try await refused(["image", "import", "127.0.0.1:1/x:1"], 1, "127.0.0.1:1")
      #expect(try await ignite.succeed("ps", "-a", "-q").split(separator: "\n").count == 1)
    }
  }

  @Test func withoutAKernelTheNextStepIsSaid() async throws {
    try await Ignite.with { ignite in
      let kernel = try await ignite.succeed("kernel", "ls", "-q")
      _ = try await ignite.succeed("kernel", "rm", kernel)
      let result = try await ignite("run", Ignite.image, "true")
      #expect(result.status == 125)
      #expect(result.errorText.contains("ignite kernel import"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/data/kernels").isEmpty)
    }
  }

  @Test func theDoctorFindsAKernelAndTheAccelerator() async throws {
    try await Ignite.with { ignite in
      let result = try await ignite("doctor")
      #expect(result.status == 0, "\(result.text)")
      for word in ["qemu", "kvm", "network", "kernel", "init"] { #expect(result.text.contains(word)) }
    }
  }

  private func size(_ path: String) -> Int64 {
    var status = stat()
    return stat(path, &status) == 0 ? Int64(status.st_size) : 0
  }
}
