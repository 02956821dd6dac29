import Foundation
import Glibc
import IgniteOCI
import Testing

@testable import IgniteImages

/// Archives of images: those of skopeo, and those that Docker wrote.
@Suite struct ArchiveTests {
  let scratch: TestDirectory
  let importer: ImageImporter

  init() throws {
    scratch = try TestDirectory()
    importer = ImageImporter(root: scratch.file("data"))
  }

  private var store: ContentStore { importer.store }

  private func importing(_ source: String) async throws -> ImportedImage {
    let archive = try await ArchiveSource.open(source, store: store)
    defer { archive.close() }
    return try await importer.importImage(source: archive, name: archive.defaultName.description)
  }

  private func content(_ image: ImportedImage, _ path: String) async throws -> String {
    let bytes = try await tool(["debugfs", "-R", "cat \(path)", "\(store.disks)/\(image.disk)"])
    return String(decoding: bytes, as: UTF8.self)
  }

  private func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: scratch.file(name)))
    return scratch.file(name)
  }

  private func expectNothingLeft(_ sourceLocation: SourceLocation = #_sourceLocation) throws {
    #expect(try directoryEntries(store.ingest) == [], sourceLocation: sourceLocation)
  }

  /// A layout with two layers, one of them larger than what is kept in memory.
  private func layout() async throws -> (layout: TestLayout, manifest: Descriptor) {
    var layout = try TestLayout(scratch.file("layout"))
    let big = (0..<300_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 9) }
    let layers = [
      try await layout.layer(["a": Array("lower".utf8), "big": big]),
      try await layout.layer(["a": Array("upper".utf8)]),
    ]
    let manifest = try layout.image(layers, process: .init(command: ["/a"], environment: ["A=b"]))
    try layout.list(manifest, tag: "v1")
    return (layout, manifest)
  }

  private func skopeo(_ from: String, _ to: String) async throws {
    try await tool(["skopeo", "--insecure-policy", "copy", "-q", from, to])
  }

  @Test func archivesOfSkopeoAreTheImage() async throws {
    let (layout, manifest) = try await layout()
    let direct = try await importer.importImage(source: LayoutSource(path: layout.path, tag: "v1"))
    let (oci, docker) = (scratch.file("My OCI.tar"), scratch.file("docker.tar"))
    try await skopeo("oci:\(layout.path):v1", "oci-archive:\(oci):v1")
    try await skopeo("oci:\(layout.path):v1", "docker-archive:\(docker):example.org/app:1")
    try await tool(["sh", "-c", "gzip -k '\(oci)' '\(docker)'; xz -k '\(docker)'; zstd -qk '\(docker)'"])

    for source in ["oci-archive:\(oci)", "oci-archive:\(oci):v1", "oci-archive:\(oci).gz"] {
      let image = try await importing(source)
      #expect(image.manifestDigest == manifest.digest, "\(source)")
      #expect(image.disk == direct.disk)
      #expect(image.name == "localhost/my-oci:v1")
    }
    let plain = try await importing("docker-archive:\(docker)")
    #expect(plain.disk == direct.disk && plain.chainID == direct.chainID)
    #expect(plain.name == "example.org/app:1")
    #expect(plain.config.config.environment == ["A=b"])
    #expect(plain.layers.map(\.mediaType) == [MediaType.ociLayer, MediaType.ociLayer])
    #expect(plain.layers.map(\.digest) == plain.config.diffIDs)
    #expect(Set(plain.blobs).isSubset(of: Set(try store.list()).union(plain.layers.map(\.digest))))
    for source in [
      "docker-archive:\(docker).gz", "docker-archive:\(docker).zst", "docker-archive:\(docker).xz:example.org/app:1",
    ] {
      #expect(try await importing(source).manifestDigest == plain.manifestDigest)
    }
    try expectNothingLeft()
  }

  /// With nothing there before, every blob comes out of the archive: in place, and through a pipe.
  @Test(arguments: [false, true], ["oci-archive", "docker-archive"])
  func everyBlobIsTaken(piped: Bool, kind: String) async throws {
    let (layout, _) = try await layout()
    let file = scratch.file("x.tar")
    try await skopeo("oci:\(layout.path):v1", "\(kind):\(file):\(kind == "oci-archive" ? "v1" : "app:1")")
    let image: ImportedImage
    if piped {
      image = try await withPipe([UInt8](try Data(contentsOf: URL(fileURLWithPath: file))), scratch) { path in
        try await importing("\(kind):\(path)")
      }
    } else {
      image = try await importing("\(kind):\(file)")
    }
    #expect(Set(try store.list()) == image.blobs)
    for layer in image.layers { #expect(try store.size(of: layer.digest) == layer.size) }
    #expect(try await content(image, "/a") == "upper")
    try await tool(["e2fsck", "-fn", "\(store.disks)/\(image.disk)"])
    try expectNothingLeft()
    try await store.removeUnreferenced(keeping: [])
    #expect(try store.list() == [])
  }

  @Test func layersOfDockersOwnMayBeLinks() async throws {
    let (one, two) = (TestDockerArchive.layer("one", "1"), TestDockerArchive.layer("two", "2"))
    let bytes = try TestDockerArchive.make([
      .init(tags: ["a:1", "b:2"], layers: [one, two]), .init(tags: nil, layers: [one]),
      .init(tags: ["c:1"], layers: [two, one, two]),
    ])
    let file = try write("legacy.tar", bytes)
    let whole = try await importing("docker-archive:\(file):c:1")
    #expect(whole.name == "docker.io/library/c:1")
    #expect(whole.layers.map(\.digest) == [two, one, two].map { Digest.sha256(of: $0) })
    #expect(try await content(whole, "/one") == "1")
    #expect(try await importing("docker-archive:\(file):docker.io/library/b:2").name == "docker.io/library/b:2")
    let unnamed = try await importing("docker-archive:\(file):@1")
    #expect(unnamed.name == "localhost/legacy:latest" && unnamed.layers.count == 1)

    let several = await #expect(throws: ImageError.self) { try await importing("docker-archive:\(file)") }
    #expect(several?.message.contains("holds 3 images") == true)
    #expect(several?.advice?.contains("a:1, b:2, @1, c:1") == true)
    for wrong in ["d:1", "@3"] {
      let error = await #expect(throws: ImageError.self) { try await importing("docker-archive:\(file):\(wrong)") }
      #expect(error?.code == .notFound)
      #expect(error?.advice?.contains("c:1") == true)
    }
  }

  /// Docker 25 and later: the list names blobs of an OCI layout, which may be packed.
  @Test func archivesWithALayoutInside() async throws {
    let (layout, manifest) = try await layout()
    var resolved = try await LayoutSource(path: layout.path, tag: "v1").resolve(platform: .host).manifest
    resolved.layers.reverse()
    let list = """
      [{"Config":"blobs/sha256/\(resolved.config.digest.hex)","RepoTags":["example.org/new:1"],"Layers":[\
      \(resolved.layers.reversed().map { "\"blobs/sha256/\($0.digest.hex)\"" }.joined(separator: ","))],\
      "LayerSources":{}}]
      """
    try layout.write("manifest.json", Array(list.utf8))
    let named =
      #""annotations":{"io.containerd.image.name":"example.org/new:1","org.opencontainers.image.ref.name":"1"}"#
    let index = """
      {"schemaVersion":2,"manifests":[{"mediaType":"\(MediaType.ociManifest)","digest":"\(manifest.digest)",\
      "size":\(manifest.size),\(named)}]}
      """
    try layout.write("index.json", Array(index.utf8))
    try await tool(["tar", "-C", layout.path, "-cf", scratch.file("new.tar"), "."])
    let docker = try await importing("docker-archive:\(scratch.file("new.tar"))")
    let oci = try await importing("oci-archive:\(scratch.file("new.tar")):example.org/new:1")
    #expect(docker.name == "example.org/new:1" && oci.name == "example.org/new:1")
    #expect(docker.disk == oci.disk)
    #expect(docker.layers.map(\.digest) == oci.layers.map(\.digest))
    #expect(docker.layers.allSatisfy { $0.mediaType == MediaType.ociLayerGzip })
    #expect(oci.manifestDigest == manifest.digest)
  }

  @Test func layoutsOfUmoci() async throws {
    let path = scratch.file("umoci")
    try await tool(["umoci", "init", "--layout", path])
    try await tool(["umoci", "new", "--image", "\(path):two"])
    _ = try write("layer.tar", TestDockerArchive.layer("x", "y"))
    try await tool(["umoci", "raw", "add-layer", "--image", "\(path):two", "--tag", "one", scratch.file("layer.tar")])
    try await tool(["tar", "-C", path, "-cf", scratch.file("u.tar"), "oci-layout", "index.json", "blobs"])
    let direct = try await importer.importImage(source: LayoutSource(path: path, tag: "one"))
    let image = try await importing("oci-archive:\(scratch.file("u.tar")):one")
    #expect(image.manifestDigest == direct.manifestDigest)
    let several = await #expect(throws: ImageError.self) { try await importing("oci-archive:\(scratch.file("u.tar"))") }
    #expect(several?.advice?.contains("one, two") == true)
  }

  @Test func whatIsNoArchiveIsSaid() async throws {
    func failure(_ source: String) async throws -> ImageError {
      try #require(await #expect(throws: ImageError.self) { try await importing(source) })
    }
    #expect(try await failure("docker-archive:\(scratch.file("none"))").code == .notFound)
    #expect(try await failure("docker-archive:\(scratch.path)").advice?.contains("oci:DIR") == true)
    #expect(try await failure("docker-archive:\(try write("empty", []))").message.contains("is empty"))
    #expect(try await failure("docker-archive:\(try write("junk", Array(repeating: 7, count: 5000)))").code == .corrupt)
    let other = try write("other.tar", TestArchive.make { $0.file("README", "hello") })
    #expect(try await failure("docker-archive:\(other)").message.contains("no archive of an image"))
    let docker = try write("d.tar", TestDockerArchive.make([.init(tags: ["a:1"], layers: [])]))
    #expect(try await failure("oci-archive:\(docker)").advice?.contains("docker-archive:") == true)
    let remote = try ImageSourceReference("docker-daemon:nginx")
    let none = await #expect(throws: ImageError.self) {
      let host = "unix://\(scratch.file("no.sock"))"
      return try await ArchiveSource.open(remote, store: store, environment: ["DOCKER_HOST": host]) { _ in }
    }
    #expect(none?.message.contains("no.sock") == true && none?.advice?.contains("dockerd") == true)
    let error = await #expect(throws: ImageError.self) {
      try await ArchiveSource.open(remote, store: store, environment: ["DOCKER_HOST": "tcp://1.2.3.4:5"]) { _ in }
    }
    #expect(error?.code == .unsupported)
    #expect(error?.advice?.contains("image import -") == true)
  }

  /// A pipe whose writer stalls is given up when the import is cancelled.
  @Test(.timeLimit(.minutes(1))) func aStalledPipeIsGivenUp() async throws {
    let path = scratch.file("stalled")
    #expect(mkfifo(path, 0o600) == 0)
    let held = open(path, O_RDWR | O_CLOEXEC)
    defer { close(held) }
    let bytes = TestDockerArchive.layer("x", "y")
    #expect(bytes.withUnsafeBytes { Glibc.write(held, $0.baseAddress, 700) } == 700)
    let (reading, told) = AsyncStream<Void>.makeStream()
    let store = store
    let task = Task {
      try await ArchiveSource.open(
        .archive(.docker, path: path, image: nil), store: store, environment: [:]
      ) { _ in told.yield() }
    }
    for await _ in reading { break }
    task.cancel()
    let error = await #expect(throws: ImageError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    try expectNothingLeft()
  }
}
