import Foundation
import Glibc
import IgniteOCI
import IgniteSystem
import Testing

@testable import IgniteImages

@Suite struct StoreContentTests {
  let scratch: TestDirectory
  let store: ContentStore

  init() throws {
    scratch = try TestDirectory()
    store = ContentStore(root: scratch.path)
  }

  private func ingesting() throws -> [String] { try directoryEntries(store.ingest) }

  @Test func putsAndReads() throws {
    let bytes = Array("hello".utf8)
    let digest = Digest.sha256(of: bytes)
    #expect(!store.has(digest))
    #expect(#expect(throws: ImageError.self) { try store.open(digest) }?.code == .notFound)
    try store.put(bytes, as: digest)
    try store.put(bytes, as: digest)
    #expect(store.has(digest))
    #expect(try store.size(of: digest) == 5)
    #expect(try store.open(digest).readAll(limit: 100) == bytes)
    #expect(try store.read(digest, limit: 5) == bytes)
    #expect(#expect(throws: ImageError.self) { try store.read(digest, limit: 4) }?.code == .limitExceeded)
    #expect(try store.list() == [digest])
    #expect(try ingesting().isEmpty)
    try store.remove(digest)
    try store.remove(digest)
    #expect(try store.list().isEmpty)
  }

  @Test func refusesWhatItIsNot() throws {
    let digest = Digest.sha256(of: Array("hello".utf8))
    #expect(#expect(throws: ImageError.self) { try store.put(Array("hullo".utf8), as: digest) }?.code == .corrupt)
    let writer = try BlobWriter(store: store, digest: digest, size: 5)
    try writer.write(Array("hell".utf8))
    #expect(#expect(throws: ImageError.self) { try writer.commit() }?.message == "the data ends 1 bytes early")
    #expect(
      #expect(throws: ImageError.self) { try writer.write(Array("oo".utf8)) }?.message.contains("more data") == true)
    writer.abandon()
    #expect(!store.has(digest))
    #expect(try ingesting().isEmpty)
    let long = try Digest(parsing: "sha512:" + String(repeating: "a", count: 128))
    #expect(#expect(throws: ImageError.self) { try store.put([], as: long) }?.code == .unsupported)
  }

  @Test func damageIsSeen() throws {
    let bytes = Array("hello".utf8)
    let digest = Digest.sha256(of: bytes)
    try store.put(bytes, as: digest)
    try Data("hullo".utf8).write(to: URL(fileURLWithPath: store.path(of: digest)))
    #expect(#expect(throws: ImageError.self) { try store.read(digest, limit: 10) }?.code == .corrupt)
  }

  @Test func writersOfTheSameBlob() throws {
    let digest = Digest.sha256(of: [1, 2])
    let one = try BlobWriter(store: store, digest: digest, size: 2)
    let two = try BlobWriter(store: store, digest: digest, size: 2)
    try one.write([1, 2])
    try two.write([1, 2])
    try one.commit()
    try two.commit()
    #expect(try store.read(digest, limit: 2) == [1, 2])
    #expect(try ingesting().isEmpty)
  }

  /// Readers see a blob grow, and never past what is there.
  @Test func growingBlob() async throws {
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let blob = IngestingBlob(Descriptor(mediaType: "", digest: .sha256(of: bytes), size: Int64(bytes.count)))
    async let first = ThreadExecutor.run { () throws(ImageError) in try blob.source().readAll(limit: 1 << 20) }
    async let second = ThreadExecutor.run { () throws(ImageError) in try blob.source().readAll(limit: 1 << 20) }
    let writer = try BlobWriter(store: store, digest: blob.descriptor.digest, size: blob.descriptor.size)
    try blob.begin(writer.file.descriptor)
    for start in stride(from: 0, to: bytes.count, by: 1000) {
      try writer.write(Array(bytes[start..<start + 1000]))
      blob.advance(to: Int64(start + 1000))
    }
    try writer.commit()
    blob.end(.success(()))
    #expect(try await first == bytes)
    #expect(try await second == bytes)
    // The blob is whole: reading it again waits for nothing.
    #expect(try blob.source().readAll(limit: 1 << 20) == bytes)
  }

  @Test func failingBlob() async throws {
    let blob = IngestingBlob(Descriptor(mediaType: "", digest: .sha256(of: []), size: 10))
    let reading = Task {
      try await ThreadExecutor.run { () throws(ImageError) in try blob.source().readAll(limit: 100) }
    }
    blob.end(.failure(ImageError(.corrupt, "because")))
    blob.end(.success(()))
    let error = await #expect(throws: ImageError.self) { try await reading.value }
    #expect(error?.message == "because")
  }

  /// What a process that died left behind goes; what living ones work on stays.
  @Test func leftovers() async throws {
    let held = try IngestFile(directory: store.ingest, kind: "blob")
    let stale = "\(store.ingest)/1-dead.blob"
    let lease = "\(store.ingest)/1-dead.lease"
    for path in [stale, lease] { try Data("x".utf8).write(to: URL(fileURLWithPath: path)) }
    chmod(stale, 0o444)
    try FileManager.default.createDirectory(atPath: store.disks, withIntermediateDirectories: true)
    let base = String(repeating: "a", count: 64) + ".1"
    for name in ["\(base).partial", "\(base).lock", "note.txt"] {
      try Data("x".utf8).write(to: URL(fileURLWithPath: "\(store.disks)/\(name)"))
    }
    try await store.removeUnreferenced(keeping: [])
    #expect(try ingesting() == [String(held.path.split(separator: "/").last ?? "")])
    #expect(try directoryEntries(store.disks) == ["note.txt"])
    held.remove()
  }

  @Test func leasesKeep() async throws {
    let kept = Digest.sha256(of: [1])
    let lost = Digest.sha256(of: [2])
    try store.put([1], as: kept)
    try store.put([2], as: lost)
    try FileManager.default.createDirectory(atPath: store.disks, withIntermediateDirectories: true)
    let disks = ["a", "b"].map { String(repeating: $0, count: 64) + ".1.ext4" }
    for disk in disks { try Data("x".utf8).write(to: URL(fileURLWithPath: "\(store.disks)/\(disk)")) }
    let lease = try Lease.take(store, blobs: [kept], disk: disks[0])
    let report = try await store.removeUnreferenced(keeping: [])
    #expect(report.blobs == 1 && report.disks == 1)
    #expect(try store.list() == [kept])
    #expect(try directoryEntries(store.disks) == [disks[0]])
    lease.release()
    try await store.removeUnreferenced(keeping: [])
    #expect(try store.list().isEmpty)
    #expect(try directoryEntries(store.disks).isEmpty)
    #expect(try ingesting().isEmpty)
  }

  @Test func namedLocks() throws {
    let path = scratch.file("lock")
    let lock = try #require(try NamedLock.tryTake(path))
    #expect(try NamedLock.tryTake(path).map(\.path) == nil)
    lock.release()
    #expect(access(path, F_OK) != 0)
    try #require(try NamedLock.tryTake(path)).release()
  }

  /// The specification's own example of a recursion: ChainID(A, B) = sha256("A B").
  @Test func chainIDs() {
    let (a, b, c) = (Digest.sha256(of: [1]), Digest.sha256(of: [2]), Digest.sha256(of: [3]))
    #expect(ChainID.of([a]) == a)
    let ab = Digest.sha256(of: Array("\(a) \(b)".utf8))
    #expect(ChainID.of([a, b]) == ab)
    #expect(ChainID.of([a, b, c]) == Digest.sha256(of: Array("\(ab) \(c)".utf8)))
    #expect(ChainID.of([]) == Digest.sha256(of: []))
  }
}
