import Foundation
import IgniteImages
import Testing

@Suite struct ZstdTests {
  private func packed(_ bytes: [UInt8], _ options: String...) throws -> [UInt8] {
    let scratch = try Scratch()
    let path = try scratch.write("data", bytes)
    try run(["zstd", "-q", "-f"] + options + [path])
    return Array(try Data(contentsOf: URL(fileURLWithPath: path + ".zst")))
  }

  private func unpacked(_ bytes: [UInt8], piece: Int = .max) throws(ImageError) -> [UInt8] {
    try Compression.unpacked(source(bytes, piece: piece)).source.readAll(limit: 1 << 24)
  }

  private func failure(_ bytes: [UInt8], limit: UInt64 = 1 << 30) throws -> ImageError {
    do throws(ImageError) {
      _ = try Compression.unpacked(source(bytes), limit: limit).source.readAll(limit: 1 << 28)
    } catch {
      return error
    }
    throw ToolFailure(description: "the data was unpacked without an error")
  }

  @Test(arguments: ["-1", "-19", "--no-check"]) func unpacksInPiecesOfAnySize(option: String) throws {
    let packed = try packed(sample, option)
    for piece in [1, 7, 1000, Int.max] { #expect(try unpacked(packed, piece: piece) == sample) }
  }

  /// Frames in a row, empty ones and skippable ones: at the front as pzstd writes them, at the end as zstd:chunked does.
  @Test func framesOneAfterTheOther() throws {
    let one = try packed(Array("one".utf8)), two = try packed(sample), none = try packed([])
    let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5]
    for piece in [1, 64, Int.max] {
      let whole = skippable + one + none + two + skippable + one + skippable
      #expect(try unpacked(whole, piece: piece) == Array("one".utf8) + sample + Array("one".utf8))
    }
    #expect(try unpacked(none).isEmpty)
    let first = try ZstdByteSource(source(one + [1, 2, 3]), concatenated: false)
    #expect(try first.readAll(limit: 10) == Array("one".utf8))
  }

  @Test func truncationAtEveryByteIsAnError() throws {
    let bytes = try packed(Array(sample[..<4000]))
    for length in 4..<bytes.count {
      let error = try failure(Array(bytes[..<length]))
      #expect(error.code == .corrupt && error.message.contains("truncated"), "cut at \(length): \(error.message)")
    }
  }

  @Test func damageIsAnError() throws {
    let one = try packed(Array("one".utf8))
    #expect(try failure(one + [1, 2, 3, 4]).message.contains("no zstd data"))
    var bytes = try packed(sample)
    bytes[bytes.count - 1] ^= 1
    #expect(try failure(bytes).message.contains("checksum"))
    let small = Array(sample[..<1000])
    let frame = try packed(small)
    // Behind the magic: without it these are bytes that nobody packed.
    for position in 4..<frame.count {
      var bytes = frame
      bytes[position] ^= 0x55
      // What the decoder takes is the right content: the checksum sees to that.
      if let result = try? unpacked(bytes) { #expect(result == small, "byte \(position)") }
    }
  }

  @Test func bombsEndAtTheLimit() throws {
    let bomb = try packed([UInt8](repeating: 0, count: 8 << 20))
    #expect(bomb.count < 20_000)
    #expect(try failure(bomb, limit: 1 << 20).code == .limitExceeded)
  }

  @Test func hugeWindowsAreRefused() throws {
    // A frame header alone: no single segment, a window of 2^31.
    let header: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3] + [UInt8](repeating: 0, count: 100)
    #expect(try failure(header).code == .limitExceeded)
  }
}
