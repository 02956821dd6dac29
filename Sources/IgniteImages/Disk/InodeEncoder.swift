/// Encodes inodes of 256 bytes, as `struct ext4_inode` has them.
enum InodeEncoder {
  private static let extentsFlag: UInt32 = 0x80000
  private static let indexFlag: UInt32 = 0x1000

  /// What an inode's 60 bytes of `i_block` hold, and what follows from it.
  struct Content {
    var bytes: [UInt8]
    var hasExtents: Bool
    var isIndexed = false
    var size: UInt64
    /// Blocks of data and of the extent tree.
    var blocks: UInt64
    var links: UInt16
  }

  /// - Parameters:
  ///   - attributes: what goes behind the fields.
  ///   - attributeBlock: the block with the other attributes; 0 for none.
  static func encode(
    _ node: Node, _ content: Content, attributes: [UInt8], attributeBlock: UInt32,
    into target: UnsafeMutableRawBufferPointer
  ) {
    let time = encodedTime(node)
    let sectors = (content.blocks + (attributeBlock == 0 ? 0 : 1)) * UInt64(Ext4.blockSize / 512)
    target.put(typeBits(node.kind) | node.mode, at: 0x00)
    target.put(UInt16(truncatingIfNeeded: node.uid), at: 0x02)
    target.put(UInt32(truncatingIfNeeded: content.size), at: 0x04)
    for offset in [0x08, 0x0c, 0x10] { target.put(time.seconds, at: offset) }
    target.put(UInt16(truncatingIfNeeded: node.gid), at: 0x18)
    target.put(content.links, at: 0x1a)
    target.put(UInt32(truncatingIfNeeded: sectors), at: 0x1c)
    target.put((content.hasExtents ? extentsFlag : 0) | (content.isIndexed ? indexFlag : 0), at: 0x20)
    for (index, byte) in content.bytes.enumerated() { target[0x28 + index] = byte }
    target.put(attributeBlock, at: 0x68)
    target.put(UInt32(truncatingIfNeeded: content.size >> 32), at: 0x6c)
    target.put(UInt16(truncatingIfNeeded: sectors >> 32), at: 0x74)
    target.put(UInt16(truncatingIfNeeded: node.uid >> 16), at: 0x78)
    target.put(UInt16(truncatingIfNeeded: node.gid >> 16), at: 0x7a)
    target.put(UInt16(32), at: 0x80)
    for offset in [0x84, 0x88, 0x8c] { target.put(time.extra, at: offset) }
    target.put(time.seconds, at: 0x90)
    target.put(time.extra, at: 0x94)
    for (index, byte) in attributes.enumerated() { target[EncodedAttributes.inlineOffset + index] = byte }
  }

  /// A device's number as the first two words of `i_block`: 8 bits each in the old form, 12 and 20 in the new one.
  static func encodedDevice(major: UInt32, minor: UInt32) -> UInt32? {
    guard major < 1 << 12, minor < 1 << 20 else { return nil }
    return (minor & 0xff) | major << 8 | (minor & ~0xff) << 12
  }

  static func deviceBytes(_ encoded: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 60)
    let isOld = encoded <= 0xffff
    bytes.withUnsafeMutableBytes { $0.put(encoded, at: isOld ? 0 : 4) }
    return bytes
  }

  private static func typeBits(_ kind: Node.Kind) -> UInt16 {
    switch kind {
    case .unused: 0
    case .file: 0o100000
    case .directory: 0o040000
    case .characterDevice: 0o020000
    case .blockDevice: 0o060000
    case .fifo: 0o010000
    case .symbolicLink: 0o120000
    }
  }

  /// 34 bits of seconds from 1901 to 2446, the upper two in the extra word below the nanoseconds; what is outside
  /// becomes the nearest.
  private static func encodedTime(_ node: Node) -> (seconds: UInt32, extra: UInt32) {
    let lowest = Int64(Int32.min)
    let highest = lowest + (1 << 34) - 1
    let seconds = min(max(node.seconds, lowest), highest)
    let nanoseconds = seconds == node.seconds ? node.nanoseconds : 0
    let low = Int32(truncatingIfNeeded: seconds)
    let epoch = UInt32(truncatingIfNeeded: (seconds - Int64(low)) >> 32) & 3
    return (UInt32(bitPattern: low), nanoseconds << 2 | epoch)
  }
}
