import Foundation
import Glibc
import IgniteOCI
import Testing

@Suite struct LayoutTests {
  let scratch: TestDirectory
  init() throws { scratch = try TestDirectory() }

  private func failure(_ path: String, tag: String? = nil) async -> OCIError? {
    do {
      _ = try await LayoutSource(path: path, tag: tag).resolve(platform: .host)
      return nil
    } catch { return error }
  }

  @Test func resolvesByTag() async throws {
    var layout = try TestLayout(scratch.file("l"))
    let one = try layout.image([], process: .init(command: ["one"]))
    let two = try layout.image([], process: .init(command: ["two"]))
    try layout.list(one, tag: "v1")
    #expect(try await LayoutSource(path: layout.path).resolve(platform: .host).descriptor.digest == one.digest)
    try layout.list(two, tag: "v2")
    let resolved = try await LayoutSource(path: layout.path, tag: "v2").resolve(platform: .host)
    #expect(resolved.descriptor.digest == two.digest)
    #expect(resolved.indexDigest == nil)
    #expect(Digest.sha256(of: resolved.bytes) == two.digest)

    let missing = await failure(layout.path, tag: "v3")
    #expect(missing?.code == .notFound)
    #expect(missing?.advice == "it has v1, v2")
    let ambiguous = await failure(layout.path)
    #expect(ambiguous?.code == .notFound)
    #expect(ambiguous?.advice?.contains("v1, v2") == true)
  }

  @Test func resolvesThroughIndexes() async throws {
    var layout = try TestLayout(scratch.file("l"))
    var other = try layout.image([], platform: Platform(os: "linux", architecture: "s390x"))
    other.platform = Platform(os: "linux", architecture: "s390x")
    var own = try layout.image([])
    own.platform = .host
    let inner = try layout.add(json: Index(manifests: [other, own]), type: MediaType.ociIndex)
    let outer = try layout.add(json: Index(manifests: [inner]), type: MediaType.ociIndex)
    try layout.list(outer, tag: "x")
    let resolved = try await LayoutSource(path: layout.path, tag: "x").resolve(platform: .host)
    #expect(resolved.descriptor.digest == own.digest)
    #expect(resolved.indexes.map(\.descriptor.digest) == [outer.digest, inner.digest])
    #expect(resolved.indexDigest == outer.digest)
  }

  @Test func nestingIsBounded() async throws {
    var layout = try TestLayout(scratch.file("l"))
    var descriptor = try layout.image([])
    for _ in 0..<4 { descriptor = try layout.add(json: Index(manifests: [descriptor]), type: MediaType.ociIndex) }
    try layout.list(descriptor)
    #expect(await failure(layout.path)?.code == .limitExceeded)
  }

  @Test func readsBlobs() async throws {
    let layout = try TestLayout(scratch.file("l"))
    let bytes = (0..<1_500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let descriptor = try layout.add(bytes, type: MediaType.ociLayer)
    let reader = try await LayoutSource(path: layout.path).open(descriptor)
    var read: [UInt8] = []
    var pieces = 0
    while let chunk = try await reader.next() {
      chunk.withUnsafeBytes { read += $0 }
      pieces += 1
    }
    #expect(read == bytes)
    #expect(pieces > 1)
  }

  @Test func noLayout() async throws {
    #expect(await failure(scratch.file("absent"))?.code == .notFound)
    let empty = await failure(scratch.path)
    #expect(empty?.message == "\(scratch.path) is no OCI image layout: it has no oci-layout")
    let layout = try TestLayout(scratch.file("l"))
    try layout.write("index.json", Array(#"{"schemaVersion":2,"manifests":[]}"#.utf8))
    #expect(await failure(layout.path)?.code == .notFound)
    try layout.write("oci-layout", Array(#"{"imageLayoutVersion":"2.0.0"}"#.utf8))
    #expect(await failure(layout.path)?.code == .invalidLayout)
    try layout.write("oci-layout", Array("junk".utf8))
    #expect(await failure(layout.path)?.code == .invalidLayout)
  }

  @Test func damage() async throws {
    var layout = try TestLayout(scratch.file("l"))
    let image = try layout.image([])
    try layout.list(image)
    let path = layout.blobPath(image.digest)
    let good = try Data(contentsOf: URL(fileURLWithPath: path))
    try (good + Data([0x20])).write(to: URL(fileURLWithPath: path))
    #expect(await failure(layout.path)?.code == .sizeMismatch)
    var changed = good
    changed[changed.count - 1] = 0x20
    try changed.write(to: URL(fileURLWithPath: path))
    #expect(await failure(layout.path)?.code == .digestMismatch)
    try FileManager.default.removeItem(atPath: path)
    #expect(await failure(layout.path)?.code == .notFound)
  }

  @Test func linksAreNotFollowed() async throws {
    var layout = try TestLayout(scratch.file("l"))
    let image = try layout.image([])
    try layout.list(image)
    let path = layout.blobPath(image.digest)
    let outside = scratch.file("outside")
    try FileManager.default.moveItem(atPath: path, toPath: outside)
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: outside)
    #expect(await failure(layout.path)?.message.contains("symbolic link") == true)
    try FileManager.default.removeItem(atPath: path)
    #expect(mkfifo(path, 0o600) == 0)
    #expect(await failure(layout.path)?.message.contains("no regular file") == true)
    // Nor is a directory on the way a link.
    let blobs = "\(layout.path)/blobs"
    try FileManager.default.moveItem(atPath: blobs, toPath: scratch.file("b"))
    try FileManager.default.createSymbolicLink(atPath: blobs, withDestinationPath: scratch.file("b"))
    #expect(await failure(layout.path)?.message.contains("symbolic link") == true)
  }
}
