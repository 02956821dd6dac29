import Foundation
import Glibc
import IgniteOCI
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteImages

@Suite struct StoreImportTests {
  let scratch: TestDirectory
  let importer: ImageImporter

  init() throws {
    scratch = try TestDirectory()
    importer = ImageImporter(root: scratch.file("data"))
  }

  private var store: ContentStore { importer.store }

  /// Everything below the data root but whole blobs and disks.
  private func leftovers() throws -> [String] {
    try directoryEntries(store.ingest) + directoryEntries(store.disks).filter { !$0.hasSuffix(".ext4") }
  }

  private func failure(
    _ source: any ImageSource, platform: Platform = .host, _ sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> ImageError {
    let error = await #expect(throws: ImageError.self, sourceLocation: sourceLocation) {
      try await importer.importImage(source: source, platform: platform)
    }
    #expect(try leftovers() == [], sourceLocation: sourceLocation)
    #expect(try directoryEntries(store.disks) == [], sourceLocation: sourceLocation)
    return try #require(error, sourceLocation: sourceLocation)
  }

  /// What debugfs finds under a path of a disk.
  private func content(_ image: ImportedImage, _ path: String) async throws -> String {
    let bytes = try await tool(["debugfs", "-R", "cat \(path)", "\(store.disks)/\(image.disk)"])
    return String(decoding: bytes, as: UTF8.self)
  }

  private func layout() throws -> TestLayout { try TestLayout(scratch.file("layout-\(UUID().uuidString)")) }

  @Test func importsFromALayout() async throws {
    var layout = try layout()
    let lower = try await layout.layer(["a": Array("lower".utf8), "b": Array("lower".utf8)])
    let upper = try await layout.layer(["b": Array("upper".utf8), "c/d": Array("deep".utf8)], gzip: false)
    let manifest = try layout.image([lower, upper], process: .init(command: ["/c/d"], environment: ["A=b"]))
    try layout.list(manifest, tag: "v1")
    let events = Mutex<[ImportProgress]>([])
    let recorded = Mutex<ImportedImage?>(nil)
    let image = try await importer.importImage(
      source: LayoutSource(path: layout.path, tag: "v1"), name: "localhost/x:v1",
      progress: { event in events.withLock { $0.append(event) } },
      record: { image in recorded.withLock { $0 = image } })

    #expect(image.name == "localhost/x:v1")
    #expect(image.manifestDigest == manifest.digest)
    #expect(image.chainID == ChainID.of([lower.diffID, upper.diffID]))
    #expect(image.disk == "\(image.chainID.hex).\(BaseDiskSink.version).ext4")
    #expect(image.size == lower.descriptor.size + upper.descriptor.size)
    #expect(image.config.config.environment == ["A=b"])
    #expect(image.platform == .host)
    #expect(image.diskSize > 0 && image.diskUsage > 0 && image.diskUsage <= image.diskSize)
    #expect(recorded.withLock { $0 } == image)
    #expect(try JSONDecoder().decode(ImportedImage.self, from: JSONEncoder().encode(image)) == image)
    #expect(try await content(image, "/a") == "lower")
    #expect(try await content(image, "/b") == "upper")
    #expect(try await content(image, "/c/d") == "deep")
    try await tool(["e2fsck", "-fn", "\(store.disks)/\(image.disk)"])
    #expect(Set(try store.list()) == image.blobs)
    #expect(try leftovers() == [])
    let seen = events.withLock { $0 }
    #expect(seen.first == .resolving("oci:\(layout.path):v1"))
    #expect(seen.last == .done(image))
    #expect(
      seen.filter { if case .applied = $0 { true } else { false } }
        == [.applied(0, digest: lower.descriptor.digest), .applied(1, digest: upper.descriptor.digest)])

    // Once more: the disk is there, no layer is needed.
    try FileManager.default.removeItem(atPath: layout.blobPath(lower.descriptor.digest))
    try store.remove(lower.descriptor.digest)
    let again = Mutex<[ImportProgress]>([])
    let source = LayoutSource(path: layout.path, tag: "v1")
    let second = try await importer.importImage(source: source, name: "other", keepsLayers: false) { event in
      again.withLock { $0.append(event) }
    }
    #expect(second.disk == image.disk)
    #expect(again.withLock { $0.contains(.reusedDisk) })

    // Removal: the other image keeps the disk, then nothing does.
    try await store.removeUnreferenced(keeping: [second])
    #expect(store.hasDisk(image.disk))
    try await store.removeUnreferenced(keeping: [])
    #expect(try directoryEntries(store.disks) == [] && store.list() == [])
  }

  @Test func importsFromARegistry() async throws {
    let registry = try await DockerRegistry()
    var layout = try layout()
    let big = (0..<4_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 9) }
    var layers: [TestLayout.Layer] = []
    for number in 0..<7 {
      layers.append(try await layout.layer(["f\(number)": Array(big[(number * 500_000)...].prefix(500_000))]))
    }
    var own = try layout.image(layers)
    own.platform = .host
    var foreign = try layout.image([], platform: Platform("linux/s390x"))
    foreign.platform = try Platform("linux/s390x")
    let index = try layout.add(json: Index(manifests: [foreign, own]), type: MediaType.ociIndex)
    try layout.list(index, tag: "v1")
    try await registry.push(layout, tag: "v1", as: "app:1", all: true)
    let client = RegistryClient()
    let source = RegistrySource(try Reference("\(registry.authority)/app:1"), client: client)
    let image = try await importer.importImage(source: source)
    #expect(image.name == "\(registry.authority)/app:1")
    #expect(image.manifestDigest == own.digest)
    #expect(image.indexDigest == index.digest)
    #expect(image.layers.count == 7)
    #expect(store.has(index.digest))
    for number in 0..<7 {
      let bytes = try await tool(["debugfs", "-R", "cat /f\(number)", "\(store.disks)/\(image.disk)"])
      #expect(bytes == Array(big[(number * 500_000)...].prefix(500_000)))
    }
    #expect(try leftovers() == [])

    // A blob that the registry damaged: nothing is made of it.
    let fresh = ImageImporter(root: scratch.file("fresh"))
    let path = registry.blobPath(layers[3].descriptor.digest.hex)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count / 2] ^= 0xff
    try bytes.write(to: URL(fileURLWithPath: path))
    let error = await #expect(throws: ImageError.self) { try await fresh.importImage(source: source) }
    #expect(error?.code == .corrupt)
    #expect(
      error?.message.hasPrefix("layer 4 of \(registry.authority)/app:1 (\(layers[3].descriptor.digest.short)): ")
        == true)
    #expect(try directoryEntries(fresh.store.disks) == [] && directoryEntries(fresh.store.ingest) == [])
    // And one that is cut short.
    try bytes.dropLast(100).write(to: URL(fileURLWithPath: path))
    let short = await #expect(throws: ImageError.self) { try await fresh.importImage(source: source) }
    #expect(short?.message.contains("the data ends 100 bytes early") == true, "\(short?.message ?? "")")
    #expect(try directoryEntries(fresh.store.disks) == [] && directoryEntries(fresh.store.ingest) == [])
    await client.shutdown()
  }

  @Test func importsNothingAtAll() async throws {
    var layout = try layout()
    try layout.list(try layout.image([]))
    let image = try await importer.importImage(source: LayoutSource(path: layout.path))
    #expect(image.chainID == Digest.sha256(of: []))
    #expect(image.layers.isEmpty && image.size == 0)
    try await tool(["e2fsck", "-fn", "\(store.disks)/\(image.disk)"])
  }

  @Test func theSameLayerTwice() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": Array("x".utf8)])
    let other = try await layout.layer(["b": Array("y".utf8)])
    try layout.list(try layout.image([layer, other, layer]))
    let image = try await importer.importImage(source: LayoutSource(path: layout.path))
    #expect(try await content(image, "/b") == "y")
    #expect(image.layers.count == 3)
  }

  @Test func wrongDiffID() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": [1]])
    try layout.list(try layout.image([layer], diffIDs: [.sha256(of: [0])]))
    let error = try await failure(LayoutSource(path: layout.path))
    #expect(error.code == .corrupt)
    #expect(error.message.contains("layer 1 of oci:") && error.message.contains("does not have the digest"))
  }

  @Test func diffIDsAndLayersDisagree() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": [1]])
    try layout.list(try layout.image([layer], diffIDs: [layer.diffID, layer.diffID]))
    let error = try await failure(LayoutSource(path: layout.path))
    #expect(error.message.contains("lists 1 layers and its configuration 2"))
  }

  @Test func corruptLayers() async throws {
    var layout = try layout()
    let junk: [UInt8] = Array("this is no archive".utf8) + [UInt8](repeating: 7, count: 2000)
    let noTar = try await layout.layer(tar: junk)
    try layout.list(try layout.image([noTar]), tag: "tar")
    let whole = try await layout.layer(["a": (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }])
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: layout.blobPath(whole.descriptor.digest))))
    let cut = TestLayout.Layer(
      descriptor: try layout.add(Array(bytes.dropLast(1000)), type: MediaType.ociLayerGzip), diffID: whole.diffID)
    try layout.list(try layout.image([cut]), tag: "gzip")
    for tag in ["tar", "gzip"] {
      let error = try await failure(LayoutSource(path: layout.path, tag: tag))
      #expect(error.code == .corrupt, "\(error)")
      #expect(error.message.hasPrefix("layer 1 of oci:"), "\(error)")
    }
  }

  /// Bytes that make no sense are blamed on the digest, where that is wrong too.
  @Test func wrongDigest() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }])
    let after = try await layout.layer(["b": [2]])
    try layout.list(try layout.image([layer, after]))
    let path = layout.blobPath(layer.descriptor.digest)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[20] ^= 0xff
    bytes[bytes.count / 2] ^= 0xff
    try bytes.write(to: URL(fileURLWithPath: path))
    let error = try await failure(LayoutSource(path: layout.path))
    #expect(error.code == .corrupt)
    #expect(error.message.contains("has the digest"), "\(error)")
    #expect(!store.has(layer.descriptor.digest))
  }

  @Test func foreignLayers() async throws {
    var layout = try layout()
    var layer = try await layout.layer(["a": [1]])
    layer.descriptor.urls = ["https://example.com/layer"]
    try layout.list(try layout.image([layer]), tag: "urls")
    layer.descriptor.urls = []
    layer.descriptor.mediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    try layout.list(try layout.image([layer]), tag: "foreign")
    layer.descriptor.mediaType = "text/plain"
    try layout.list(try layout.image([layer]), tag: "text")
    for tag in ["urls", "foreign", "text"] {
      #expect(try await failure(LayoutSource(path: layout.path, tag: tag)).code == .unsupported)
    }
  }

  @Test func otherPlatform() async throws {
    var layout = try layout()
    try layout.list(try layout.image([], platform: Platform("linux/s390x")))
    let error = try await failure(LayoutSource(path: layout.path))
    #expect(error.message.contains("is for linux/s390x, not for \(Platform.host)"))
  }

  @Test func artifacts() async throws {
    var layout = try layout()
    let config = try layout.add(Array("{}".utf8), type: "application/vnd.cncf.helm.config.v1+json")
    try layout.list(try layout.add(json: Manifest(config: config, layers: []), type: MediaType.ociManifest))
    let error = try await failure(LayoutSource(path: layout.path))
    #expect(error.message.contains("is no image"))
  }

  @Test func unreachableRegistry() async throws {
    let server = try FakeServer { _, connection in connection.hangUp() }
    server.stop()
    let error = try await failure(RegistrySource(try Reference("\(server.authority)/a:1"), client: RegistryClient()))
    #expect((error.cause as? OCIError)?.code == .unreachable)
    #expect(error.description.contains("is it running?"))
  }

  /// Two imports of one image at once make its disk once.
  @Test func twoAtOnce() async throws {
    var layout = try layout()
    let layers = [
      try await layout.layer(["a": [UInt8](repeating: 1, count: 1_000_000)]), try await layout.layer(["b": [2]]),
    ]
    try layout.list(try layout.image(layers))
    let source = LayoutSource(path: layout.path)
    let importer = importer
    let reports = try await withThrowingTaskGroup(of: (disk: String, reused: Bool).self) { group in
      for _ in 0..<4 {
        group.addTask {
          let reused = Mutex(false)
          let image = try await importer.importImage(source: source) { event in
            if event == .reusedDisk { reused.withLock { $0 = true } }
          }
          return (image.disk, reused.withLock { $0 })
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(Set(reports.map(\.disk)).count == 1)
    #expect(reports.filter { $0.reused }.count == 3)
    #expect(try leftovers() == [])
  }

  /// Cancelled while a layer is on its way: nothing is left, and no thread waits for ever.
  @Test(arguments: [0, 1])
  func cancelled(stalling: Int) async throws {
    var layout = try layout()
    let layers = [
      try await layout.layer(["a": (0..<300_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }]),
      try await layout.layer(["b": (0..<300_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 9) }]),
    ]
    try layout.list(try layout.image(layers))
    let (stalled, stalling1) = AsyncStream<Void>.makeStream()
    let source = StallingSource(LayoutSource(path: layout.path), at: layers[stalling].descriptor.digest) {
      stalling1.yield()
    }
    let task = Task { try await importer.importImage(source: source) }
    for await _ in stalled { break }
    task.cancel()
    let error = await #expect(throws: ImageError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    #expect(try leftovers() == [])
    #expect(try directoryEntries(store.disks) == [])
    try await store.removeUnreferenced(keeping: [])
    #expect(try store.list() == [])
    // The next one is not hindered.
    _ = try await importer.importImage(source: LayoutSource(path: layout.path))
  }

  /// A clean-up beside a running import takes nothing of its away.
  @Test func cleanUpBesideAnImport() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": Array("kept".utf8)])
    try layout.list(try layout.image([layer]))
    let store = store
    let image = try await importer.importImage(source: LayoutSource(path: layout.path)) { _ in
    } record: { image in
      try await store.removeUnreferenced(keeping: [])
      #expect(store.hasDisk(image.disk))
    }
    #expect(try await content(image, "/a") == "kept")
    #expect(Set(try store.list()) == image.blobs)
  }

  @Test func failedRecordKeepsNothingHeld() async throws {
    struct Refused: Error {}
    var layout = try layout()
    try layout.list(try layout.image([]))
    await #expect(throws: Refused.self) {
      try await importer.importImage(source: LayoutSource(path: layout.path)) { _ in
      } record: { _ in
        throw Refused()
      }
    }
    try await store.removeUnreferenced(keeping: [])
    #expect(try directoryEntries(store.disks) == [] && store.list() == [] && leftovers() == [])
  }
}

/// A source that hands out the first half of one blob and then nothing until it is cancelled.
private struct StallingSource: ImageSource {
  let source: LayoutSource
  let digest: Digest
  let stalled: @Sendable () -> Void

  init(_ source: LayoutSource, at digest: Digest, stalled: @escaping @Sendable () -> Void) {
    self.source = source
    self.digest = digest
    self.stalled = stalled
  }

  var name: String { source.name }

  func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    try await source.resolve(platform: platform)
  }

  func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    let reader = try await source.open(descriptor)
    return descriptor.digest == digest ? StallingReader(reader, stalled) : reader
  }
}

private actor StallingReader: BlobReader {
  private let reader: any BlobReader
  private let stalled: @Sendable () -> Void
  private var given = false

  init(_ reader: any BlobReader, _ stalled: @escaping @Sendable () -> Void) {
    self.reader = reader
    self.stalled = stalled
  }

  func next() async throws(OCIError) -> BlobChunk? {
    guard !given else {
      stalled()
      let never = AsyncStream<Void> { _ in }
      for await _ in never {}
      throw .cancelled
    }
    given = true
    guard let chunk = try await reader.next() else { return nil }
    return chunk.withUnsafeBytes { BlobChunk(Array($0.prefix($0.count / 2))) }
  }
}
