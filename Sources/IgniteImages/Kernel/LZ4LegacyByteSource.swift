internal import CLZ4

/// Unpacks LZ4's legacy frame (lz4_Frame_format.md, Legacy frame), in which Linux packs itself: independent blocks of at
/// most 8 MiB each, ended by the stream's end or, in a kernel image, by the unpacked size in four bytes.
final class LZ4LegacyByteSource: ByteSource {
  static let magic: [UInt8] = [0x02, 0x21, 0x4c, 0x18]
  private static let magicNumber: UInt32 = 0x184c_2102
  private static let blockSize = 8 << 20

  private let source: any ByteSource
  private let limit: UInt64
  private let packedLimit: Int
  private let packed: UnsafeMutableRawBufferPointer
  private let block: UnsafeMutableRawBufferPointer
  /// The part of `block` that is not yet handed out.
  private var available = 0..<0
  private var produced: UInt64 = 0
  private var ended = false

  /// - Parameters:
  ///   - source: the packed bytes, from the magic number on.
  ///   - limit: the most bytes that may come out.
  init(_ source: any ByteSource, limit: UInt64) throws(ImageError) {
    self.source = source
    self.limit = limit
    packedLimit = Int(LZ4_compressBound(Int32(Self.blockSize)))
    packed = .allocate(byteCount: packedLimit, alignment: 64)
    block = .allocate(byteCount: Self.blockSize, alignment: 64)
    guard try readWord() == Self.magicNumber else { throw ImageError(.corrupt, "the data is not an LZ4 legacy frame") }
  }

  deinit {
    packed.deallocate()
    block.deallocate()
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if buffer.count == 0 { return 0 }
    while available.isEmpty {
      if ended { return 0 }
      try readBlock()
    }
    let count = min(buffer.count, available.count)
    let end = available.lowerBound + count
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: block[available.lowerBound..<end]))
    available = end..<available.upperBound
    return count
  }

  private func readBlock() throws(ImageError) {
    guard let size = try readWord() else {
      ended = true
      return
    }
    if size == Self.magicNumber { return }
    let wanted = UnsafeMutableRawBufferPointer(rebasing: packed[..<min(Int(size), packedLimit)])
    let count = try source.readFully(into: wanted)
    if count == 0 {
      // Nothing follows the word, so it is the kernel's record of its unpacked size, modulo 2^32.
      guard UInt32(truncatingIfNeeded: produced) == size else {
        throw ImageError(.corrupt, "the LZ4 data unpacks to \(produced) bytes and says it has \(size)")
      }
      ended = true
      return
    }
    guard Int(size) <= packedLimit else {
      throw ImageError(.corrupt, "the LZ4 data is damaged: a block claims \(size) bytes, more than a block can have")
    }
    guard count == wanted.count else {
      throw ImageError(.corrupt, "the LZ4 data is truncated: it ends after \(produced) unpacked bytes")
    }
    let unpacked = LZ4_decompress_safe(
      packed.baseAddress?.assumingMemoryBound(to: CChar.self), block.baseAddress?.assumingMemoryBound(to: CChar.self),
      Int32(count), Int32(Self.blockSize))
    guard unpacked > 0 else {
      throw ImageError(.corrupt, "the LZ4 data is damaged in the block after \(produced) unpacked bytes")
    }
    produced += UInt64(unpacked)
    guard produced <= limit else {
      throw ImageError(.limitExceeded, "the LZ4 data unpacks to more than \(limit) bytes")
    }
    available = 0..<Int(unpacked)
  }

  /// The next little-endian word; nil at the stream's end.
  private func readWord() throws(ImageError) -> UInt32? {
    let word = UnsafeMutableRawBufferPointer(rebasing: packed[..<4])
    let count = try source.readFully(into: word)
    if count == 0 { return nil }
    guard count == 4 else {
      throw ImageError(.corrupt, "the LZ4 data is truncated: it ends after \(produced) unpacked bytes")
    }
    return UInt32(littleEndian: word.loadUnaligned(as: UInt32.self))
  }
}
