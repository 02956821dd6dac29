import Foundation
import IgniteOCI
import Testing

@testable import IgniteImages

/// Archives that are broken or mean harm: each is refused in words that say why, in place and as a stream.
@Suite struct ArchiveHostileTests {
  let scratch: TestDirectory
  let importer: ImageImporter

  init() throws {
    scratch = try TestDirectory()
    importer = ImageImporter(root: scratch.file("data"))
  }

  private let layer = TestDockerArchive.layer("x", String(repeating: "y", count: 70_000))

  /// What both ways of reading fail with; what they took in is gone.
  private func failures(
    _ bytes: [UInt8], image: String = "", kind: String = "docker-archive", _ location: SourceLocation = #_sourceLocation
  ) async throws -> [ImageError] {
    let store = importer.store
    var errors: [ImageError] = []
    let file = scratch.file("x.tar")
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    let reference = try ImageSourceReference("\(kind):\(file)\(image)")
    let placed = await #expect(throws: ImageError.self, sourceLocation: location) {
      let source = try await ArchiveSource.open(reference, store: store, environment: [:]) { _ in }
      defer { source.close() }
      try await importer.importImage(source: source)
    }
    errors.append(try #require(placed, sourceLocation: location))
    let streamed = await #expect(throws: ImageError.self, sourceLocation: location) {
      let interruption = try StreamInterruption()
      let table = try ArchiveReading.spool(MemoryByteSource(bytes), into: store, interruption) { _ in }
      let source = try ArchiveSource(reference, table: table, store: store, interruption)
      defer { source.close() }
      try await importer.importImage(source: source)
    }
    errors.append(try #require(streamed, sourceLocation: location))
    #expect(try directoryEntries(store.ingest) == [], sourceLocation: location)
    #expect(try directoryEntries(store.disks) == [], sourceLocation: location)
    return errors
  }

  private func expect(
    _ bytes: [UInt8], image: String = "", kind: String = "docker-archive", _ code: ImageError.Code, _ words: String,
    _ location: SourceLocation = #_sourceLocation
  ) async throws {
    for error in try await failures(bytes, image: image, kind: kind, location) {
      #expect(error.code == code, "\(error)", sourceLocation: location)
      #expect(error.message.contains(words), "\(error)", sourceLocation: location)
    }
  }

  @Test func truncatedAtEveryBoundary() async throws {
    let small = TestDockerArchive.layer("x", "y")
    let whole = try TestDockerArchive.make([.init(tags: ["a:1"], layers: [small])])
    // The list is the last member: without its last block and the archive's end nothing is whole.
    let end = whole.count - 1024
    for cut in Array(stride(from: 1, to: end, by: 512)) + Array(stride(from: 512, to: end, by: 512)) {
      let errors = try await failures(Array(whole[..<cut]))
      for error in errors { #expect([.corrupt, .notFound].contains(error.code), "cut at \(cut): \(error)") }
    }
    let packed = try await tool(["gzip", "-nc"], input: whole)
    for cut in [5, 20, packed.count / 2, packed.count - 9] {
      try Data(packed[..<cut]).write(to: URL(fileURLWithPath: scratch.file("x.tar.gz")))
      let error = await #expect(throws: ImageError.self) {
        try await ArchiveSource.open("docker-archive:\(scratch.file("x.tar.gz"))", store: importer.store)
      }
      #expect(error?.code == .corrupt, "cut at \(cut)")
    }
  }

  @Test func namesAndLinksStayInside() async throws {
    for path in ["../layer.tar", "/etc/passwd", "a/../../layer.tar", ".."] {
      let bytes = try TestDockerArchive.make([.init(layers: [layer], paths: [path])]) { archive in
        archive.file("../layer.tar", "outside")
        archive.file("/etc/passwd", "inside, in truth")
      }
      try await expect(bytes, .corrupt, "lies outside of it")
    }
    for target in ["../../etc/passwd", "/etc/passwd", "../../../x"] {
      let bytes = try TestDockerArchive.make([.init(layers: [layer], paths: ["l/layer.tar"])]) { archive in
        archive.link("l/layer.tar", to: target)
      }
      try await expect(bytes, .corrupt, "leads out of the archive")
    }
    let circle = try TestDockerArchive.make([.init(layers: [layer], paths: ["a/l"])]) { archive in
      archive.link("a/l", to: "../b/l")
      archive.link("b/l", to: "../a/l")
    }
    try await expect(circle, .corrupt, "leads through more than")
    let missing = try TestDockerArchive.make([.init(layers: [layer], paths: ["a/l"])]) { archive in
      archive.link("a/l", to: "nowhere")
    }
    try await expect(missing, .notFound, "the archive lacks a/l")
    let configuration = try TestDockerArchive.make([.init(layers: [])]) { $0.link("x", to: "y") }
    let changed = String(decoding: configuration, as: UTF8.self).replacingOccurrences(
      of: #""Config":"#, with: #""config":"#)
    try await expect(Array(changed.utf8), .corrupt, "'0.Config' is missing")
  }

  @Test func twoListsAreTwoArchives() async throws {
    let bytes = try TestDockerArchive.make([.init(tags: ["a:1"], layers: [layer])]) { archive in
      archive.file("manifest.json", "[]")
    }
    try await expect(bytes, .corrupt, "manifest.json twice")
    // A link in its place is no other list either.
    let linked = try TestDockerArchive.make([.init(tags: ["a:1"], layers: [layer])]) { archive in
      archive.file("other", "[]")
      archive.link("manifest.json", to: "other")
    }
    try await expect(linked, .corrupt, "manifest.json twice")
  }

  @Test func whatIsDamagedHasNotItsDigest() async throws {
    let (one, other) = (TestDockerArchive.layer("x", "y"), TestDockerArchive.layer("x", "z"))
    let config = try TestDockerArchive.config([other])
    for layer in [one, layer] {
      let wrong = try TestDockerArchive.make([.init(layers: [layer], config: config)])
      for error in try await failures(wrong) {
        #expect(error.code == .corrupt && error.message.contains("layer 1"), "\(error)")
      }
    }
    let count = try TestDockerArchive.make([.init(layers: [one, one], config: config)])
    try await expect(count, .corrupt, "lists 2 layers and the image's configuration 1")
    let good = try TestDockerArchive.make([.init(layers: [one])])
    let changed = String(decoding: good, as: UTF8.self).replacingOccurrences(of: "\"linux\"", with: "\"minix\"")
    try await expect(Array(changed.utf8), .corrupt, "has the digest")
  }

  @Test func documentsAreBounded() async throws {
    let long = try TestDockerArchive.make([]) { _ in
    } after: { _ in
    }
    try await expect(long, .notFound, "holds no image")
    var archive = TestArchive()
    var member = TestArchive.Member(.file, "manifest.json")
    member.data = [UInt8](repeating: 0x20, count: 50 << 20)
    archive.add(member)
    try await expect(archive.finished, .limitExceeded, "manifest.json has 52428800 bytes")
    let config = [UInt8](repeating: 0x20, count: 9 << 20)
    try await expect(try TestDockerArchive.make([.init(layers: [], config: config)]), .limitExceeded, "configuration")
    let many = try TestDockerArchive.make([.init(layers: [], paths: Array(repeating: "l", count: 600))])
    try await expect(many, .limitExceeded, "more than 512 layers")
  }

  @Test func membersAreBounded() async throws {
    let header = TestArchive.Header("x", type: "5").encoded
    let many = [[UInt8]](repeating: header, count: 100_001).flatMap { $0 }
    try await expect(many, .limitExceeded, "more than 100000 entries")
    // Names that fill the memory.
    var archive = TestArchive()
    for number in 0..<4200 { archive.file("\(number)" + String(repeating: "n", count: 4000)) }
    try await expect(archive.finished, .limitExceeded, "names in the archive")
    // A member that is said to be larger than any layer.
    var huge = TestArchive()
    huge.addRecords([("size", Array("\(65 << 30)".utf8))])
    huge.addRaw(TestArchive.Header("huge", type: "0").encoded)
    try await expect(huge.bytes, .limitExceeded, "huge")
  }

  @Test func sparseMembersAreRefusedWhereTheyAreMeant() async throws {
    let folder = scratch.file("sparse")
    try FileManager.default.createDirectory(atPath: folder + "/l", withIntermediateDirectories: true)
    try await tool(["truncate", "-s", "10M", folder + "/l/layer.tar"])
    let config = try TestDockerArchive.config([[]])
    let name = "\(Digest.sha256(of: config).hex).json"
    try Data(config).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
    try #"[{"Config":"\#(name)","RepoTags":null,"Layers":["l/layer.tar"]}]"#.write(
      toFile: folder + "/manifest.json", atomically: true, encoding: .utf8)
    for format in ["gnu", "pax"] {
      let bytes = try await tool(["tar", "-S", "--format=\(format)", "-C", folder, "-c", "."])
      try await expect(bytes, .unsupported, "stored in the archive with holes")
    }
  }

  @Test func layoutsThatLie() async throws {
    func archive(_ body: (inout TestLayout) throws -> Void) async throws -> [UInt8] {
      var layout = try TestLayout(scratch.file("layout-\(UUID().uuidString)"))
      try body(&layout)
      return try await tool(["tar", "-C", layout.path, "-c", "."])
    }
    let nested = try await archive { layout in
      var descriptor = try layout.image([])
      for _ in 0..<4 { descriptor = try layout.add(json: Index(manifests: [descriptor]), type: MediaType.ociIndex) }
      try layout.list(descriptor)
    }
    try await expect(nested, kind: "oci-archive", .limitExceeded, "indexes are nested")
    // An index can be its own entry only by name: its digest would have to hold itself.
    let cyclic = try await archive { layout in
      let digest = Digest.sha256(of: [1])
      let bytes = Array(
        #"{"schemaVersion":2,"manifests":[{"mediaType":"\#(MediaType.ociIndex)","digest":"\#(digest)","size":200}]}"#
          .utf8)
      try layout.write("blobs/sha256/\(digest.hex)", bytes)
      try layout.write("index.json", bytes)
    }
    for error in try await failures(cyclic, kind: "oci-archive") { #expect(error.code == .corrupt, "\(error)") }
    let missing = try await archive { layout in
      let image = try layout.image([])
      try layout.list(image)
      try FileManager.default.removeItem(atPath: layout.blobPath(image.digest))
    }
    try await expect(missing, kind: "oci-archive", .notFound, "the archive lacks blobs/sha256/")
    let sizes = try await archive { layout in
      var config = try layout.add(Array("{}".utf8), type: MediaType.ociConfig)
      config.size = 3
      try layout.list(try layout.add(json: Manifest(config: config, layers: []), type: MediaType.ociManifest))
    }
    for error in try await failures(sizes, kind: "oci-archive") { #expect(error.code == .corrupt, "\(error)") }
  }

  @Test func answersOfADaemonThatMakeNoSense() throws {
    func read(_ text: String) throws -> (Int, [UInt8]) {
      let response = try HTTPResponse(MemoryByteSource(Array(text.utf8)))
      return (response.status, try response.body.readAll(limit: 1 << 20))
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: x\r\n"
    #expect(try read(head + "\r\nrest").1 == Array("rest".utf8))
    #expect(try read(head + "Content-Length: 4\r\n\r\nrest and more").1 == Array("rest".utf8))
    let chunked = head + "Transfer-Encoding: Chunked\r\n\r\n"
    #expect(
      try read(chunked + "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n").1 == Array("abc0123456789".utf8))
    #expect(try read("HTTP/1.0 404 Not Found\n\nno").0 == 404)
    for wrong in [
      "", "SSH-2.0-x\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", head,
      head + "Content-Length: -1\r\n\r\n", head + "Content-Length: 9\r\n\r\nshort", chunked, chunked + "3\r\nabc",
      chunked + "3\r\nabcd\r\n", chunked + "xyz\r\n", chunked + "ffffffffffffffff\r\n", chunked + "-1\r\n",
      chunked + "5\r\nab", chunked + "0\r\n", "HTTP/1.1 200 OK\r\nX: " + String(repeating: "y", count: 70_000),
    ] {
      #expect(throws: ImageError.self, "\(wrong.prefix(80))") { try read(wrong) }
    }
  }
}
