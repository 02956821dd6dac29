/// ext4's map from a file's blocks to the disk's: up to four extents in the inode, more in blocks of their own.
enum ExtentTree {
  private static let magic: UInt16 = 0xf30a
  private static let perBlock = (Ext4.blockSize - 12) / 12

  /// Writes the blocks of the tree below its root and returns the root's 60 bytes and the blocks taken.
  static func write(_ extents: [Extent], to writer: BlockWriter) throws(ImageError) -> (root: [UInt8], blocks: [UInt32])
  {
    var blocks: [UInt32] = []
    var level = extents
    var depth: UInt16 = 0
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: Ext4.blockSize, alignment: 8)
    defer { block.deallocate() }
    while level.count > 4 {
      var above: [Extent] = []
      var start = 0
      while start < level.count {
        let end = min(start + perBlock, level.count)
        block.initializeMemory(as: UInt8.self, repeating: 0)
        encode(level[start..<end], depth: depth, capacity: perBlock, into: block)
        let number = UInt32(truncatingIfNeeded: writer.nextBlock)
        try writer.append(UnsafeRawBufferPointer(block))
        blocks.append(number)
        above.append(Extent(logical: level[start].logical, physical: number, count: 0))
        start = end
      }
      level = above
      depth += 1
    }
    return (root(level[...], depth: depth), blocks)
  }

  /// The 60 bytes of the inode for up to four extents, or for none.
  static func root(_ extents: ArraySlice<Extent>, depth: UInt16 = 0) -> [UInt8] {
    var root = [UInt8](repeating: 0, count: 60)
    root.withUnsafeMutableBytes { encode(extents, depth: depth, capacity: 4, into: $0) }
    return root
  }

  static func encode(
    _ extents: ArraySlice<Extent>, depth: UInt16, capacity: Int, into target: UnsafeMutableRawBufferPointer
  ) {
    target.put(magic, at: 0)
    target.put(UInt16(extents.count), at: 2)
    target.put(UInt16(capacity), at: 4)
    target.put(depth, at: 6)
    var at = 12
    for extent in extents {
      target.put(extent.logical, at: at)
      if depth == 0 {
        // A length of 32768 is the longest of an initialised extent; above, it would mean an uninitialised one.
        target.put(UInt16(truncatingIfNeeded: extent.count), at: at + 4)
        target.put(UInt16(0), at: at + 6)
        target.put(extent.physical, at: at + 8)
      } else {
        target.put(extent.physical, at: at + 4)
        target.put(UInt32(0), at: at + 8)
      }
      at += 12
    }
  }
}

extension UnsafeMutableRawBufferPointer {
  /// Stores a number in little-endian order.
  func put<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: Number.self)
  }
}
