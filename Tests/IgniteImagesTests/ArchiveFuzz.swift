import Foundation
import IgniteOCI
import Testing

@testable import IgniteImages

/// Damages archives of images at random: each ends in an error or in an image whose blobs have their digests, the same
/// in place and as a stream where both succeed.
///
/// FUZZ_SECONDS says how long (default 20), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct ArchiveFuzz {
  @Test func damagedArchivesNeverBreakTheReader() async throws {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 20
    let first = environment["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(Date().timeIntervalSince1970)
    let scratch = try TestDirectory()
    let store = ContentStore(root: scratch.file("data"))
    let samples = try await samples(scratch)
    let end = Date().addingTimeInterval(seconds)
    var seed = first
    var (errors, images) = (0, 0)
    repeat {
      var random = SplitMix(seed: seed)
      var bytes = samples[random.below(samples.count)]
      mutate(&bytes, &random)
      let file = scratch.file("fuzz.tar")
      try Data(bytes).write(to: URL(fileURLWithPath: file))
      var found: [Digest] = []
      for kind in [ImageSourceReference.ArchiveFormat.docker, .oci] {
        for streamed in [false, true] {
          do {
            found.append(try await read(bytes, .archive(kind, path: file, image: nil), streamed, store))
            images += 1
          } catch let error as ImageError {
            errors += 1
            #expect(error.code != .io || streamed == false, "FUZZ_SEED=\(seed): \(error)")
          } catch let error as OCIError {
            errors += 1
            #expect(error.code != .fileSystem, "FUZZ_SEED=\(seed): \(error)")
          }
          #expect(try directoryEntries(store.ingest) == [], "FUZZ_SEED=\(seed)")
        }
      }
      seed &+= 1
    } while Date() < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(errors) errors, \(images) images")
    #expect(errors + images > 0)
  }

  /// Opens and resolves, and reads every blob that could be read; returns the manifest's digest.
  private func read(
    _ bytes: [UInt8], _ reference: ImageSourceReference, _ streamed: Bool, _ store: ContentStore
  ) async throws -> Digest {
    let source: ArchiveSource
    if streamed {
      let interruption = try StreamInterruption()
      let unpacked = try ArchiveReading.unpacked(MemoryByteSource(bytes))
      let table = try ArchiveReading.spool(LimitedByteSource(unpacked, limit: 64 << 20), into: store, interruption) {
        _ in
      }
      source = try ArchiveSource(reference, table: table, store: store, interruption)
    } else {
      source = try await ArchiveSource.open(reference, store: store, environment: [:]) { _ in }
    }
    defer { source.close() }
    let resolved = try await source.resolve(platform: .host)
    #expect(Digest.sha256(of: resolved.bytes) == resolved.descriptor.digest)
    for descriptor in resolved.manifest.layers + [resolved.manifest.config] {
      let reader = try await source.open(descriptor)
      var count: Int64 = 0
      while let chunk = try await reader.next() { count += Int64(chunk.count) }
      #expect(count == descriptor.size)
    }
    return resolved.descriptor.digest
  }

  private func samples(_ scratch: TestDirectory) async throws -> [[UInt8]] {
    let (one, two) = (
      TestDockerArchive.layer("one", "1"), TestDockerArchive.layer("two", String(repeating: "2", count: 66_000))
    )
    var samples = [
      try TestDockerArchive.make([.init(tags: ["a:1"], layers: [one, two, one])]),
      try TestDockerArchive.make([.init(tags: ["a:1"], layers: [one]), .init(tags: nil, layers: [two])]),
    ]
    var layout = try TestLayout(scratch.file("layout"))
    let image = try layout.image([try await layout.layer(tar: one), try await layout.layer(tar: two, gzip: false)])
    try layout.list(try layout.add(json: Index(manifests: [image]), type: MediaType.ociIndex), tag: "v1")
    samples.append(try await tool(["tar", "--format=gnu", "-C", layout.path, "-c", "."]))
    try layout.list(image, tag: "v2")
    samples.append(try await tool(["tar", "--format=pax", "-C", layout.path, "-c", "."]))
    samples.append(try await tool(["gzip", "-nc"], input: samples[0]))
    return samples
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    for _ in 0...random.below(3) {
      guard bytes.count > 1024 else { return }
      let offset = random.below(bytes.count)
      let block = random.below(bytes.count / 512) * 512
      switch random.below(9) {
      case 0: bytes[offset] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes[offset] ^= 1 << UInt8(random.below(8))
      case 2: bytes.removeLast(random.below(bytes.count - 512))
      case 3: bytes.removeSubrange(block..<block + 512)
      case 4: bytes.insert(contentsOf: bytes[block..<block + 512], at: random.below(bytes.count / 512) * 512)
      case 5:
        let values = ["77777777777", "00000000000", "-0000000001", "00000001000"]
        bytes.replaceSubrange(block + 124..<block + 135, with: Array(values[random.below(values.count)].utf8))
      case 6: bytes[block + 156] = Array("01234567LKxgS".utf8)[random.below(13)]
      case 7:
        // Words of the documents in place of others.
        let words = ["Config", "Layers", "null", "[[[[", "sha256:", "../../x", "{}", "size\":-", "999999999999"]
        let word = Array(words[random.below(words.count)].utf8)
        bytes.replaceSubrange(offset..<min(bytes.count, offset + word.count), with: word.prefix(bytes.count - offset))
      default:
        let names = ["manifest.json", "index.json", "oci-layout", "../x", "/", "a/layer.tar", "blobs/sha256/"]
        let name = Array(names[random.below(names.count)].utf8)
        bytes.replaceSubrange(block..<block + name.count, with: name)
      }
      // Most mutants get a good checksum, so that they are looked at beyond it.
      if random.below(5) > 0, block + 512 <= bytes.count, bytes[0] != 0x1f {
        bytes.replaceSubrange(
          block..<block + 512, with: TestArchive.Header.checksummed(Array(bytes[block..<block + 512])))
      }
    }
  }
}
