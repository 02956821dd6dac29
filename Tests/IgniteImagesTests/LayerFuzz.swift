import Foundation
import IgniteImages
import Testing

/// Damages archives at random: each ends in an error or in a disk that e2fsck finds clean.
///
/// FUZZ_SECONDS says how long (default 20), FUZZ_SEED where the random numbers start; a failure names its seed.
@Suite struct LayerFuzz {
  @Test func damagedLayersNeverBreakTheBuilder() throws {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init) ?? 20
    let first = environment["FUZZ_SEED"].flatMap(UInt64.init) ?? UInt64(Date().timeIntervalSince1970)
    let scratch = try Scratch()
    let samples = try samples(scratch)
    let end = Date().addingTimeInterval(seconds)
    var seed = first
    var (errors, disks) = (0, 0)
    repeat {
      var random = SplitMix(seed: seed)
      var layers = [samples[random.below(samples.count)], samples[random.below(samples.count)]]
      for index in layers.indices where index == 0 || random.below(2) == 0 { mutate(&layers[index], &random) }
      do throws(ImageError) {
        try build(layers, scratch("fuzz.ext4"))
        disks += 1
        #expect(throws: Never.self, "FUZZ_SEED=\(seed)") { try run("e2fsck", "-fn", scratch("fuzz.ext4")) }
      } catch {
        errors += 1
        #expect(error.code != .io, "FUZZ_SEED=\(seed): \(error.message)")
        #expect(!FileManager.default.fileExists(atPath: scratch("fuzz.ext4")), "FUZZ_SEED=\(seed)")
      }
      try? FileManager.default.removeItem(atPath: scratch("fuzz.ext4"))
      seed &+= 1
    } while Date() < end
    print("fuzz: seeds \(first) to \(seed &- 1), \(errors) errors, \(disks) disks")
    #expect(errors + disks > 0)
  }

  private func build(_ layers: [[UInt8]], _ path: String) throws(ImageError) {
    var options = BaseDiskBuilder.Options(identity: "fuzz")
    options.limits.fileBytes = 1 << 34
    let builder = try BaseDiskBuilder(path: path, options: options)
    for layer in layers {
      let unpacked = try Compression.unpacked(MemoryByteSource(layer), limit: 1 << 26)
      try builder.apply(unpacked.source)
    }
    try builder.finish()
  }

  private func samples(_ scratch: Scratch) throws -> [[UInt8]] {
    var samples = DiskContentTests.layers.map { $0.count > 1 << 18 ? Array($0[..<(1 << 15)]) : $0 }
    samples.append(
      TestArchive.make { archive in
        archive.file("bin/.wh..wh..opq")
        archive.file(".wh.tmp")
        archive.link("x", to: "bin")
        archive.file("x/y", "z")
        archive.addRecords([
          ("GNU.sparse.major", Array("1".utf8)), ("GNU.sparse.minor", Array("0".utf8)),
          ("GNU.sparse.realsize", Array("100000".utf8)),
        ])
        var sparse = TestArchive.Member(.file, "sparse")
        sparse.data = Array("2\n0\n4\n50000\n4\n".utf8)
        sparse.data += [UInt8](repeating: 0, count: 512 - sparse.data.count) + Array("datadata".utf8)
        archive.add(sparse)
      })
    try run("mkdir", "-p", scratch("t/a"))
    _ = try scratch.write("t/a/f", [UInt8](repeating: 3, count: 5000))
    try run("truncate", "-s", "1M", scratch("t/a/f"))
    try run("ln", scratch("t/a/f"), scratch("t/" + String(repeating: "h", count: 150)))
    for format in ["gnu", "oldgnu", "v7", "pax"] {
      let long = format == "v7" ? "--exclude=h*" : "-S"
      try run("tar", long, "--format=\(format)", "-C", scratch("t"), "-cf", scratch("s.tar"), ".")
      samples.append(Array(try Data(contentsOf: URL(fileURLWithPath: scratch("s.tar")))))
    }
    try run("gzip", "-kf", scratch("s.tar"))
    samples.append(Array(try Data(contentsOf: URL(fileURLWithPath: scratch("s.tar.gz")))))
    return samples
  }

  private func mutate(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    for _ in 0...random.below(4) {
      guard bytes.count > 1024 else { return }
      // Mostly within the first blocks, which hold more structure than data.
      let span = random.below(2) == 0 ? bytes.count : min(bytes.count, 16384)
      let offset = random.below(span)
      let block = random.below(span / 512) * 512
      switch random.below(8) {
      case 0: bytes[offset] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes[offset] ^= 1 << UInt8(random.below(8))
      case 2: bytes.removeLast(random.below(bytes.count - 512))
      case 3: bytes.removeSubrange(block..<block + 512)
      case 4: bytes.insert(contentsOf: bytes[block..<block + 512], at: random.below(span / 512) * 512)
      case 5:
        let values = ["77777777777", "00000000000", "-0000000001", "0\0\0\0\0\0\0\0\0\0\0"]
        bytes.replaceSubrange(block + 124..<block + 135, with: Array(values[random.below(values.count)].utf8))
      case 6: bytes[block + 156] = Array("01234567LKxgSDVMN\0".utf8)[random.below(18)]
      default:
        let start = random.below(100)
        let words = ["../../", "/", ".wh.", ".wh..wh..opq", "\0", "bin/", String(repeating: "a/", count: 40)]
        let word = Array(words[random.below(words.count)].utf8)
        bytes.replaceSubrange(
          block + start..<min(block + start + word.count, block + 512),
          with: word.prefix(512 - start))
      }
      // Most mutants get a good checksum, so that they are looked at beyond it.
      if random.below(5) > 0, block + 512 <= bytes.count, bytes[0] != 0x1f {
        bytes.replaceSubrange(
          block..<block + 512, with: TestArchive.Header.checksummed(Array(bytes[block..<block + 512])))
      }
    }
  }
}
