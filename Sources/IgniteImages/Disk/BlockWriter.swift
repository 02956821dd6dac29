internal import Glibc

/// The numbers of the ext4 file systems made here.
enum Ext4 {
  static let blockSize = 4096
  /// Blocks, and at most as many inodes, of a block group: what one bitmap block can tell.
  static let blocksPerGroup: UInt64 = 32768
  static let inodeSize = 256
  static let rootInode: UInt32 = 2
  /// The first inode that is not reserved.
  static let firstInode: UInt32 = 11
  /// Block 0 has the superblock, and so many from there on are kept for group descriptors: enough for 4 TiB.
  static let firstDataBlock: UInt64 = 256
  static let maximumBlocks: UInt64 = (firstDataBlock - 1) * 128 * blocksPerGroup
  /// The most blocks that one initialised extent covers.
  static let extentBlocks: UInt32 = 32768
  static let maximumLinks: UInt32 = 65000

  static func blocks(_ bytes: UInt64) -> UInt64 { bytes / 4096 + (bytes % 4096 == 0 ? 0 : 1) }
}

/// A run of a file's blocks that lie side by side on the disk.
struct Extent: Equatable {
  /// The first block's number within the file.
  var logical: UInt32
  /// The first block's number on the disk.
  var physical: UInt32
  var count: UInt32
}

/// Writes blocks one after the other, in large pieces: files, directories and metadata all pass here, so that the host
/// sees one sequential stream.
final class BlockWriter {
  private static let capacity = 1 << 20

  private let descriptor: OwnedDescriptor
  private let path: String
  private let maximumBlocks: UInt64
  private let buffer: UnsafeMutableRawBufferPointer
  private var filled = 0
  /// The block at the buffer's front.
  private var base: UInt64
  private var writeBehind: WriteBehind?

  /// - Parameters:
  ///   - maximumBlocks: where the disk ends.
  ///   - writesBehind: whether the system is to begin at once with bringing what was written to stable storage.
  init(
    _ descriptor: OwnedDescriptor, path: String, at block: UInt64, maximumBlocks: UInt64, writesBehind: Bool = false
  ) {
    self.descriptor = descriptor
    self.path = path
    self.maximumBlocks = maximumBlocks
    base = block
    writeBehind = writesBehind ? WriteBehind() : nil
    buffer = .allocate(byteCount: Self.capacity, alignment: Ext4.blockSize)
  }

  deinit { buffer.deallocate() }

  /// The block that the next byte goes to; only meaningful between blocks.
  var nextBlock: UInt64 { base + UInt64(filled / Ext4.blockSize) }

  /// Room for the next bytes, at least one and at most `count`; `commit` makes a part of it count.
  func room(_ count: Int) throws(ImageError) -> UnsafeMutableRawBufferPointer {
    if filled == buffer.count { try flush() }
    let count = min(count, buffer.count - filled)
    return UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + count])
  }

  func commit(_ count: Int) { filled += count }

  func append(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
    var done = 0
    while done < bytes.count {
      let target = try room(bytes.count - done)
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + target.count]))
      commit(target.count)
      done += target.count
    }
  }

  func appendZeros(_ count: Int) throws(ImageError) {
    var rest = count
    while rest > 0 {
      let target = try room(rest)
      target.initializeMemory(as: UInt8.self, repeating: 0)
      commit(target.count)
      rest -= target.count
    }
  }

  /// Fills the block under way with zeros.
  func pad() throws(ImageError) {
    let rest = filled % Ext4.blockSize
    if rest > 0 { try appendZeros(Ext4.blockSize - rest) }
  }

  /// Leaves blocks out: they stay a hole in the file.
  func skip(blocks: UInt64) throws(ImageError) {
    try flush()
    base += blocks
    try checkSize()
  }

  /// Hands the buffer to the system. Whole blocks only.
  func flush() throws(ImageError) {
    var done = 0
    while done < filled {
      let offset = off_t(base) * off_t(Ext4.blockSize) + off_t(done)
      let count = pwrite(descriptor.number, buffer.baseAddress?.advanced(by: done), filled - done, offset)
      if count < 0 {
        if errno == EINTR { continue }
        throw .system("write", path)
      }
      done += count
    }
    base += UInt64(filled / Ext4.blockSize)
    filled = 0
    writeBehind?.advance(to: Int64(base) * Int64(Ext4.blockSize), of: descriptor.number)
    try checkSize()
  }

  private func checkSize() throws(ImageError) {
    guard base <= maximumBlocks else {
      throw ImageError(
        .limitExceeded, "the disk would be larger than the limit of \(maximumBlocks * UInt64(Ext4.blockSize)) bytes")
    }
  }
}
