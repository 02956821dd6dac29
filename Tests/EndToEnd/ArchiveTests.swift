import FoundationEssentials
import Glibc
import IgniteSystem
import Testing

/// Images from archives, from standard input and from a real Docker daemon; kernels from images and files.
@Suite(.timeLimit(.minutes(10))) struct Archives {
  private static func skopeo(_ from: String, _ to: String) async throws {
    try await Ignite.run(["skopeo", "--insecure-policy", "copy", "-q", from, to])
  }

  /// What an image's record says.
  private struct Record: Decodable {
    struct Image: Decodable {
      var name: String
      var disk: String
      var manifestDigest: String
    }
    var image: Image
  }

  private func record(_ ignite: Ignite, _ name: String) async throws -> Record.Image {
    let text = try await ignite.succeed("image", "inspect", name)
    return try #require(try JSONDecoder().decode([Record].self, from: Data(text.utf8)).first).image
  }

  private func bytes(_ path: String) throws -> [UInt8] {
    try [UInt8](#require(FileManager.default.contents(atPath: path)))
  }

  @Test func anArchiveOnStandardInputBoots() async throws {
    try await Ignite.with { ignite in
      // A disk that is there already would serve without a look at the layers.
      _ = try await ignite.succeed("image", "rm", Ignite.image)
      let archive = ignite.folder + "/image.tar"
      try await Self.skopeo("oci:\(try await TestImage.layout()):test", "docker-archive:\(archive):things/test:1")
      let input = try bytes(archive)
      let run = try await ignite(["run", "--rm", "-", "echo", "from a pipe"], input: input)
      #expect(run.status == 0, "\(run.errorText)")
      #expect(run.text == "from a pipe\n")
      let piped = try await record(ignite, "things/test:1")
      let named = try await ignite(["image", "import", "-", "--name", "own/name:2"], input: input)
      #expect(named.status == 0, "\(named.errorText)")
      #expect(named.text.hasPrefix("docker.io/own/name:2@sha256:"))
      let file = try await ignite.succeed("image", "import", "docker-archive:\(archive)")
      #expect(file == "docker.io/things/test:1@\(piped.manifestDigest)")
      // The command reads an archive each time, and finds the disk.
      let again = try await ignite("create", "docker-archive:\(archive):things/test:1", "true")
      #expect(again.status == 0, "\(again.errorText)")
      let refused = try await ignite(["run", "-i", "-", "cat"], input: input)
      #expect(refused.status == 125 && refused.errorText.contains("standard input"))
      let cut = try await ignite(["run", "-", "true"], input: Array(input.prefix(input.count / 2)))
      #expect(cut.status == 125 && cut.errorText.contains("truncated"), "\(cut.errorText)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: ignite.folder + "/data/content/ingest").isEmpty)
    }
  }

  /// The program's own archives, as a file and through a pipe: of a layout the very manifest, of both the same disk.
  @Test func whatIsSavedComesBack() async throws {
    try await Ignite.with { ignite in
      let known = try await record(ignite, Ignite.image)
      for format in ["oci-archive", "docker-archive"] {
        let file = "\(ignite.folder)/\(format).tar"
        try await ignite.succeed("image", "save", "--format", format, "-o", file, Ignite.image)
        #expect(try await ignite.succeed("image", "import", "\(format):\(file)").hasPrefix(Ignite.image + "@"))
        let piped = try await ignite(["image", "import", "-", "--name", "back/\(format):1"], input: try bytes(file))
        #expect(piped.status == 0, "\(piped.errorText)")
        let back = try await record(ignite, "back/\(format):1")
        #expect(back.disk == known.disk)
        #expect(format == "docker-archive" || back.manifestDigest == known.manifestDigest)
      }
    }
  }

  /// Debian's dockerd, which writes archives of the old kind: layers in folders of their own, links where they repeat.
  @Test func whatDockerHasAndSaves() async throws {
    try #require(Ignite.isRoot, "the end-to-end suites are run as root")
    try await Ignite.with { ignite in
      let expected = try await record(ignite, Ignite.image)
      let archive = ignite.folder + "/image.tar"
      try await Self.skopeo("oci:\(try await TestImage.layout()):test", "docker-archive:\(archive):things/test:1")
      let daemon = try await Dockerd.start(in: ignite.folder + "/docker")
      do {
        try await daemon.docker("load", "-q", "-i", archive)
        try await daemon.docker("tag", "things/test:1", "things/other:2")
        let saved = ignite.folder + "/saved.tar"
        try await daemon.docker("save", "-o", saved, "things/test:1", "things/other:2")
        let names = ["docker-daemon:things/test:1", "docker-archive:\(saved):things/other:2"]
        var images: [Record.Image] = []
        for (source, name) in zip(names, ["things/test:1", "things/other:2"]) {
          let result = try await ignite("image", "import", source, extra: ["DOCKER_HOST": daemon.host])
          #expect(result.status == 0, "\(source): \(result.errorText)")
          images.append(try await record(ignite, name))
        }
        #expect(images.allSatisfy { $0.disk == expected.disk && $0.manifestDigest == images[0].manifestDigest })
        // docker save NAME | ignite image import -
        let piped = try await ignite(
          ["image", "import", "-", "--name", "piped/it:1"],
          input: try await daemon.docker("save", "things/test:1").output)
        #expect(piped.text == "docker.io/piped/it:1@\(images[0].manifestDigest)\n", "\(piped.errorText)")
        let missing = try await ignite("run", "docker-daemon:no/such:1", extra: ["DOCKER_HOST": daemon.host])
        #expect(missing.status == 125 && missing.errorText.contains("docker pull no/such:1"), "\(missing.errorText)")
      } catch {
        await daemon.end()
        throw error
      }
      await daemon.end()
      let gone = try await ignite("image", "import", "docker-daemon:x", extra: ["DOCKER_HOST": daemon.host])
      #expect(gone.status == 1 && gone.errorText.contains("is dockerd running?"), "\(gone.errorText)")
    }
  }

  /// The kernel of Debian's package once more: as an image that umoci makes of it, and as a file with its modules.
  @Test func kernelsComeFromImagesAndFiles() async throws {
    try await Ignite.with { ignite in
      let known = try await ignite.succeed("kernel", "ls", "-q")
      let seed = try await Seed.shared.folder()
      let script = """
        set -eu
        cd "$1"
        dpkg-deb --fsys-tarfile "$2" > layer.tar
        umoci init --layout k
        umoci new --image k:debian
        umoci --log error raw add-layer --no-history --image k:debian layer.tar
        mkdir tree
        tar -C tree -xf layer.tar
        version=$(ls tree/lib/modules)
        mkdir link link/boot
        ln -s "vmlinuz-$version" link/boot/vmlinuz
        tar -C link -cf link.tar boot
        umoci --log error raw add-layer --no-history --image k:debian link.tar
        chmod -R go+rX .
        printf %s "$version"
        """
      let folder = try Ignite.scratchFolder()
      chmod(folder, 0o755)
      let version = try await Ignite.run(["bash", "-c", script, "kernel", folder, seed + "/kernel.deb"]).text
      let image = try await ignite.succeed(
        "kernel", "import", "oci:\(folder)/k:debian", "--name", "from/image:1", "--default")
      #expect(image == "from/image:1")
      let file = try await ignite.succeed(
        "kernel", "import", "\(folder)/tree/boot/vmlinuz-\(version)", "--modules", "\(folder)/tree/lib/modules")
      #expect(file == "localhost/kernel:\(version)")
      #expect(try await ignite.succeed("kernel", "ls", "-q").split(separator: "\n").count == 3)
      for kernel in [image, file] {
        let result = try await ignite(
          "run", "--rm", "-k", kernel, Ignite.image, "sh", "-c",
          "uname -r; ls /lib/modules; modprobe dummy && echo loaded")
        #expect(result.status == 0, "\(result.errorText)")
        #expect(result.text == "\(version)\n\(version)\nloaded\n")
      }
      _ = try await ignite.succeed("kernel", "rm", known)
      let bare = try await ignite("kernel", "import", "\(folder)/layer.tar")
      #expect(bare.status == 1 && bare.errorText.contains("bzImage"), "\(bare.errorText)")
      try await Ignite.run(["rm", "-rf", folder])
    }
  }
}
