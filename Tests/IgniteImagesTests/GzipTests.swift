import Foundation
import IgniteImages
import Testing

@Suite struct GzipTests {
  private func packed(_ bytes: [UInt8], _ options: String...) throws -> [UInt8] {
    let scratch = try Scratch()
    let path = try scratch.write("data", bytes)
    try run(["gzip", "-f"] + options + [path])
    return Array(try Data(contentsOf: URL(fileURLWithPath: path + ".gz")))
  }

  private func failure(_ bytes: [UInt8], limit: UInt64 = 1 << 30) throws -> ImageError {
    do throws(ImageError) {
      _ = try Compression.unpacked(source(bytes), limit: limit).source.readAll(limit: 1 << 24)
    } catch {
      return error
    }
    throw ToolFailure(description: "the data was unpacked without an error")
  }

  @Test func unpacksInPiecesOfAnySize() throws {
    let packed = try packed(sample)
    for piece in [1, 7, 1000, Int.max] {
      let gzip = GzipByteSource(source(packed, piece: piece))
      #expect(try gzip.readAll(limit: 1 << 20) == sample)
    }
    let tiny = GzipByteSource(source(packed))
    var out: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 3, alignment: 1)
    defer { buffer.deallocate() }
    while true {
      let count = try tiny.read(into: buffer)
      if count == 0 { break }
      out += buffer[..<count]
    }
    #expect(out == sample)
  }

  @Test func membersOneAfterTheOther() throws {
    let one = try packed(Array("one".utf8)), two = try packed(sample, "-1"), none = try packed([])
    for piece in [1, 64, Int.max] {
      let gzip = GzipByteSource(source(one + none + two + one, piece: piece))
      #expect(try gzip.readAll(limit: 1 << 20) == Array("one".utf8) + sample + Array("one".utf8))
    }
    #expect(try GzipByteSource(source(none)).readAll(limit: 10).isEmpty)
  }

  @Test func zerosBehindAreIgnoredAndGarbageIsNot() throws {
    let one = try packed(Array("one".utf8))
    let padded = one + [UInt8](repeating: 0, count: 1000)
    #expect(try GzipByteSource(source(padded, piece: 5)).readAll(limit: 10) == Array("one".utf8))
    #expect(try failure(one + [1, 2, 3]).code == .corrupt)
    #expect(try failure(padded + [7]).code == .corrupt)
  }

  @Test func truncationAtEveryByteIsAnError() throws {
    let bytes = try packed(Array(sample[..<4000]))
    for length in 3..<bytes.count {
      let error = try failure(Array(bytes[..<length]))
      #expect(error.code == .corrupt && error.message.contains("truncated"), "cut at \(length): \(error.message)")
    }
  }

  @Test func damageIsFoundByTheChecksum() throws {
    let bytes = try packed(Array(sample[..<4000]))
    for offset in [bytes.count - 1, bytes.count - 5, bytes.count - 8, bytes.count / 2, 3 * bytes.count / 4] {
      var damaged = bytes
      damaged[offset] ^= 0x10
      #expect(try failure(damaged).code == .corrupt, "at \(offset) of \(bytes.count)")
    }
  }

  @Test func bombsEndAtTheLimit() throws {
    let bomb = try packed([UInt8](repeating: 0, count: 8 << 20))
    #expect(bomb.count < 20_000)
    #expect(try failure(bomb, limit: 1 << 20).code == .limitExceeded)
    #expect(try failure([UInt8](repeating: 1, count: 2000), limit: 1000).code == .limitExceeded)
  }

  @Test func packingIsToldByTheFirstBytes() throws {
    #expect(Compression.detect([0x1f, 0x8b, 8]) == .gzip)
    #expect(Compression.detect([0x28, 0xb5, 0x2f, 0xfd]) == .zstd)
    #expect(Compression.detect([]) == .none)
    #expect(Compression.detect(TestArchive.make { $0.file("a") }) == .none)
    #expect(Compression.detect([0x53, 0x2a, 0x4d, 0x18, 0, 0]) == .zstd)
    let error = try failure(Array("BZh91AY&SY".utf8))
    #expect(error.code == .unsupported && error.message.contains("bzip2"))
    let plain = try Compression.unpacked(source([1, 2, 3, 4, 5, 6, 7, 8], piece: 1))
    #expect(try plain.source.readAll(limit: 100) == [1, 2, 3, 4, 5, 6, 7, 8])
  }

  @Test func readingAheadDigestsEveryByte() throws {
    struct Sum: StreamingDigest {
      var sum: UInt64 = 0
      mutating func update(bufferPointer: UnsafeRawBufferPointer) { for byte in bufferPointer { sum &+= UInt64(byte) } }
      mutating func finish() -> [UInt8] { withUnsafeBytes(of: sum) { Array($0) } }
    }
    for count in [0, 1, 300_000, 256 * 1024 * 9] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 >> 3) }
      let ahead = try ReadAheadByteSource(source(bytes, piece: 100_000), digest: Sum())
      #expect(try ahead.drain() == UInt64(count))
      let sum = bytes.reduce(UInt64(0)) { $0 + UInt64($1) }
      #expect(ahead.finish() == withUnsafeBytes(of: sum) { Array($0) })
    }
  }

  @Test func readingAheadChangesNothing() throws {
    let whole = sample + sample + sample + sample + sample + sample + sample + sample + sample + sample
    #expect(try ReadAheadByteSource(source(whole, piece: 70_001)).readAll(limit: 1 << 23) == whole)
    #expect(try ReadAheadByteSource(source([])).readAll(limit: 1).isEmpty)
    #expect(try ReadAheadByteSource(source(Array(sample[..<1]))).readAll(limit: 1) == Array(sample[..<1]))
    // All before an error arrives, in whole pieces, and the error as often as it is asked for.
    var count = 0
    let failing = ClosureByteSource { buffer throws(ImageError) in
      count += 1
      if count > 100 { throw ImageError(.corrupt, "broken") }
      buffer.copyBytes(from: [7])
      return 1
    }
    let ahead = try ReadAheadByteSource(failing)
    for _ in 0..<2 { #expect(throws: ImageError.self) { try ahead.readAll(limit: 1000) } }
    // Abandoned in the middle.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 10, alignment: 1)
    defer { buffer.deallocate() }
    #expect(try ReadAheadByteSource(source(whole)).read(into: buffer) == 10)
  }

  @Test func filesAndTheirParts() throws {
    let scratch = try Scratch()
    let path = try scratch.write("f", Array("0123456789".utf8))
    #expect(try FileByteSource(path: path, offset: 2, length: 3).readAll(limit: 10) == Array("234".utf8))
    #expect(try FileByteSource(path: path, offset: 10).readAll(limit: 10).isEmpty)
    for (offset, length) in [(Int64(11), Int64(0)), (0, 11), (-1, 1), (5, -1), (1, Int64.max)] {
      #expect(throws: ImageError.self) { try FileByteSource(path: path, offset: offset, length: length) }
    }
    do {
      _ = try FileByteSource(path: scratch("missing"))
      Issue.record("a missing file was opened")
    } catch {
      #expect(error.code == .notFound)
    }
  }
}
