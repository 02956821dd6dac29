/// Extended attributes as ext4 stores them: in the space behind the inode, or in one block that several inodes share.
struct EncodedAttributes {
  /// What goes behind the inode's fields; empty for none.
  var inline: [UInt8] = []
  /// The shared block, without its reference count; nil where the inode's space suffices.
  var block: [UInt8]?
  /// Attributes left out, since ext4 has no name space for them.
  var skipped = 0

  private static let magic: UInt32 = 0xea02_0000
  /// Behind 128 bytes of old inode and 32 of extra fields.
  static let inlineOffset = 160
  private static let inlineSpace = Ext4.inodeSize - inlineOffset - 4
  private static let blockHeader = 32
  /// The most inodes that share a block: EXT4_XATTR_REFCOUNT_MAX.
  static let maximumReferences = 1024

  private struct Item {
    var index: UInt8
    var name: ArraySlice<UInt8>
    var value: [UInt8]
    var entrySize: Int { (16 + name.count + 3) & ~3 }
    var valueSize: Int { (value.count + 3) & ~3 }
    var size: Int { entrySize + valueSize }
  }

  /// - Throws: `unsupported` where the attributes together are too large, `corrupt` for an ACL that does not parse.
  init(_ attributes: [ExtendedAttribute]) throws(ImageError) {
    var items: [Item] = []
    for attribute in attributes {
      guard let item = try Self.item(attribute) else {
        skipped += 1
        continue
      }
      items.append(item)
    }
    items.sort { a, b in
      if a.index != b.index { return a.index < b.index }
      if a.name.count != b.name.count { return a.name.count < b.name.count }
      return a.name.lexicographicallyPrecedes(b.name)
    }
    // What fits goes into the inode, the small ones first.
    var inside: [Item] = []
    var outside: [Item] = []
    if items.reduce(4, { $0 + $1.size }) <= Self.inlineSpace {
      inside = items
    } else if items.reduce(4, { $0 + $1.size }) <= Ext4.blockSize - Self.blockHeader {
      outside = items
    } else {
      var room = Self.inlineSpace - 4
      for item in items {
        if item.size <= room {
          inside.append(item)
          room -= item.size
        } else {
          outside.append(item)
        }
      }
      guard outside.reduce(4, { $0 + $1.size }) <= Ext4.blockSize - Self.blockHeader else {
        throw ImageError(.unsupported, "its extended attributes are larger than the 4 KiB that ext4 has for them")
      }
    }
    if !inside.isEmpty {
      var bytes = [UInt8](repeating: 0, count: 4 + Self.inlineSpace)
      bytes.withUnsafeMutableBytes { target in
        target.put(Self.magic, at: 0)
        _ = Self.encode(inside, into: UnsafeMutableRawBufferPointer(rebasing: target[4...]), at: 0)
      }
      inline = bytes
    }
    if !outside.isEmpty {
      var bytes = [UInt8](repeating: 0, count: Ext4.blockSize)
      bytes.withUnsafeMutableBytes { target in
        let hash = Self.encode(outside, into: target, at: Self.blockHeader)
        target.put(Self.magic, at: 0)
        target.put(UInt32(1), at: 8)
        target.put(hash, at: 12)
      }
      block = bytes
    }
  }

  /// Entries from the front, values from the end; returns the hash over all.
  private static func encode(_ items: [Item], into target: UnsafeMutableRawBufferPointer, at start: Int) -> UInt32 {
    var at = start
    var end = target.count
    var total: UInt32 = 0
    for item in items {
      end -= item.valueSize
      target.put(UInt8(item.name.count), at: at)
      target.put(item.index, at: at + 1)
      target.put(UInt16(item.value.isEmpty ? 0 : end), at: at + 2)
      target.put(UInt32(item.value.count), at: at + 8)
      for (offset, byte) in item.name.enumerated() { target[at + 16 + offset] = byte }
      for (offset, byte) in item.value.enumerated() { target[end + offset] = byte }
      let hash = entryHash(item)
      target.put(hash, at: at + 12)
      total = total << 16 ^ total >> 16 ^ hash
      at += item.entrySize
    }
    return total
  }

  private static func entryHash(_ item: Item) -> UInt32 {
    var hash: UInt32 = 0
    for byte in item.name { hash = hash << 5 ^ hash >> 27 ^ UInt32(byte) }
    for start in stride(from: 0, to: item.value.count, by: 4) {
      var word: UInt32 = 0
      for offset in 0..<4 where start + offset < item.value.count {
        word |= UInt32(item.value[start + offset]) << UInt32(8 * offset)
      }
      hash = hash << 16 ^ hash >> 16 ^ word
    }
    return hash
  }

  /// The name without its name space, which ext4 stores as a number.
  private static func item(_ attribute: ExtendedAttribute) throws(ImageError) -> Item? {
    let name = attribute.name
    if name.starts(with: "trusted.overlay.".utf8) {
      // These would steer the overlay file system that the guest puts over the disk.
      return nil
    }
    if name.elementsEqual("system.posix_acl_access".utf8) {
      return Item(index: 2, name: [], value: try encodedACL(attribute.value))
    }
    if name.elementsEqual("system.posix_acl_default".utf8) {
      return Item(index: 3, name: [], value: try encodedACL(attribute.value))
    }
    let spaces: [(StaticString, UInt8)] = [("user.", 1), ("trusted.", 4), ("security.", 6)]
    for (prefix, index) in spaces {
      let count = prefix.utf8CodeUnitCount
      let matches = prefix.withUTF8Buffer { name.starts(with: $0) }
      if matches, name.count > count { return Item(index: index, name: name[count...], value: attribute.value) }
    }
    return nil
  }

  /// POSIX ACLs: the system call's form (version 2, 8 bytes an entry) to the disk's (version 1, user and group IDs only
  /// where they mean something).
  private static func encodedACL(_ value: [UInt8]) throws(ImageError) -> [UInt8] {
    guard value.count >= 4, value.count % 8 == 4, value.prefix(4).elementsEqual([2, 0, 0, 0]) else {
      throw ImageError(.corrupt, "its access control list does not parse")
    }
    var out: [UInt8] = [1, 0, 0, 0]
    for start in stride(from: 4, to: value.count, by: 8) {
      let tag = UInt16(value[start]) | UInt16(value[start + 1]) << 8
      switch tag {
      case 0x02, 0x08: out += value[start..<start + 8]
      case 0x01, 0x04, 0x10, 0x20: out += value[start..<start + 4]
      default: throw ImageError(.corrupt, "its access control list has an entry of an unknown kind")
      }
    }
    return out
  }
}
