import Foundation
import Glibc
import IgniteOCI
import IgniteSystem
import Synchronization
import Testing

@testable import IgniteImages

/// What a clean-up takes and leaves, and what two imports do together.
@Suite(.timeLimit(.minutes(2))) struct StoreCleanupTests {
  let scratch: TestDirectory
  let store: ContentStore

  init() throws {
    scratch = try TestDirectory()
    store = ContentStore(root: scratch.file("data"))
  }

  private var importer: ImageImporter { ImageImporter(root: store.root) }

  private func layout() throws -> TestLayout { try TestLayout(scratch.file("layout-\(UUID().uuidString)")) }

  private func age(_ digest: Digest, seconds: Int) throws {
    var times = [timespec(), timespec()]
    times[1].tv_sec = time(nil) - seconds
    times[0] = times[1]
    #expect(utimensat(AT_FDCWD, try store.path(of: digest), &times, 0) == 0)
  }

  @Test func grace() async throws {
    let (young, old, named) = (Digest.sha256(of: [1]), Digest.sha256(of: [2]), Digest.sha256(of: [3]))
    for (byte, digest) in zip([UInt8(1), 2, 3], [young, old, named]) { try store.put([byte], as: digest) }
    try age(old, seconds: 1000)
    var request = CleanupRequest(needs: StoreNeeds())
    request.grace = 500
    request.atOnce.blobs = [named]
    request.dryRun = true
    let planned = request
    let dry = try await store.cleanUp { planned }
    #expect(Set(dry.items.map(\.name)) == [old.description, named.description])
    #expect(dry.bytes > 0)
    #expect(try store.list().count == 3)
    request.dryRun = false
    let real = request
    #expect(try await store.cleanUp { real } == dry)
    #expect(try store.list() == [young])
    let again = try await store.cleanUp { real }
    #expect(again.items.isEmpty)
  }

  /// A request that fails deletes nothing.
  @Test func nothingGoesWhereTheNeedsAreNotKnown() async throws {
    struct Unknown: Error {}
    try store.put([1], as: Digest.sha256(of: [1]))
    await #expect(throws: Unknown.self) { try await store.cleanUp { throw Unknown() } }
    #expect(try store.list().count == 1)
  }

  @Test func layersThatAreNotKeptComeBack() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": Array("kept".utf8)])
    try layout.list(try layout.image([layer]))
    let source = LayoutSource(path: layout.path)
    let image = try await importer.importImage(source: source, keepsLayers: false)
    var needs = StoreNeeds()
    needs.add(image, layers: false)
    let request = CleanupRequest(needs: needs)
    _ = try await store.cleanUp { request }
    #expect(Set(try store.list()) == image.documents)
    // The disk is here, so nothing is fetched.
    _ = try await importer.importImage(source: source, keepsLayers: false)
    #expect(Set(try store.list()) == image.documents)
    _ = try await importer.importImage(source: source)
    #expect(Set(try store.list()) == image.blobs)
    #expect(try await store.verify(image).isEmpty)
  }

  /// Images that share a layer, at once: the layer is read once.
  @Test func sharedLayersAreFetchedOnce() async throws {
    let shared = [UInt8](repeating: 7, count: 3_000_000).enumerated().map {
      UInt8(truncatingIfNeeded: $0.offset ^ $0.offset >> 8)
    }
    let opened = Mutex<[Digest: Int]>([:])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<3 {
        var layout = try layout()
        let layers = [try await layout.layer(["shared": shared]), try await layout.layer(["own": [UInt8(number)]])]
        try layout.list(try layout.image(layers))
        let source = CountingSource(LayoutSource(path: layout.path)) { digest in
          opened.withLock { $0[digest, default: 0] += 1 }
        }
        let importer = importer
        group.addTask { _ = try await importer.importImage(source: source) }
      }
      try await group.waitForAll()
    }
    let counts = opened.withLock { $0 }
    #expect(counts.values.allSatisfy { $0 == 1 })
    // A shared layer, three of their own, three configurations.
    #expect(counts.count == 7)
    #expect(try directoryEntries(store.ingest) == [])
  }

  @Test func spaceIsToldByItsFileSystem() throws {
    let space = try #require(HostSpace(below: scratch.path))
    #expect(space.free > 0)
    #expect(scratch.path.hasPrefix(space.mountPoint))
    let error = #expect(throws: ImageError.self) { try space.require(.max, for: "the layers of app:1") }
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains(space.mountPoint) == true)
    let full = ImageError(.noSpace, "cannot write x: No space left on device")
      .explained("app:1", before: HostSpace(mountPoint: "/small", free: 5000), needed: 70_000)
    #expect(full.message.contains("the file system /small is full: 5.0 kB were free, and more than 70.0 kB are needed"))
    let other = ImageError(.io, "x")
    #expect(other.explained("app:1", before: space, needed: 1).message == "x")
    #expect(HostSpace(below: "/no/such/path") == nil)
  }

  // MARK: Archives

  @Test func archivesAreRefusedWhereABlobIsDamaged() async throws {
    var layout = try layout()
    let layer = try await layout.layer(["a": [1, 2, 3]])
    try layout.list(try layout.image([layer]))
    let image = try await importer.importImage(source: LayoutSource(path: layout.path))
    let path = try store.path(of: layer.descriptor.digest)
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    bytes[bytes.count / 2] ^= 1
    chmod(path, 0o644)
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    for format in ImageArchive.Format.allCases {
      let output = open(scratch.file("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
      defer { close(output) }
      let error = await #expect(throws: ImageError.self) {
        try await ImageArchive.write([image], from: store, as: format, to: output, name: "out")
      }
      #expect(error?.code == .corrupt)
      #expect(error?.description.contains("ignite image verify --repair") == true)
    }
    #expect(try directoryEntries(store.ingest) == [])
    let damage = try await store.verify(image)
    #expect(damage.map(\.part) == [.blob(layer.descriptor.digest)])
  }

  /// Nobody reads the pipe: the writer is given up all the same.
  @Test func savingIsCancelled() async throws {
    var layout = try layout()
    let noise = (0..<2_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
    try layout.list(try layout.image([try await layout.layer(["noise": noise], gzip: false)]))
    let image = try await importer.importImage(source: LayoutSource(path: layout.path))
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let output = ends[1]
    let store = store
    let task = Task { try await ImageArchive.write([image], from: store, as: .oci, to: output, name: "a pipe") }
    // The archive's first bytes: it is under way, and more than a pipe holds is to come.
    let input = ends[0]
    let count = await ThreadExecutor.run {
      var byte: UInt8 = 0
      return read(input, &byte, 1)
    }
    #expect(count == 1)
    task.cancel()
    let error = await #expect(throws: ImageError.self) { try await task.value }
    #expect(error?.code == .cancelled)
    close(ends[0])
    close(ends[1])
  }
}

/// Tells which blobs are opened.
private struct CountingSource: ImageSource {
  let source: LayoutSource
  let opened: @Sendable (Digest) -> Void

  init(_ source: LayoutSource, _ opened: @escaping @Sendable (Digest) -> Void) {
    self.source = source
    self.opened = opened
  }

  var name: String { source.name }

  func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    try await source.resolve(platform: platform)
  }

  func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    opened(descriptor.digest)
    return try await source.open(descriptor)
  }
}
