internal import CExt2fs

/// Writes directories: one block as a plain list, more as ext4's hash tree, so that looking up a name in a directory of
/// a hundred thousand costs the guest three blocks.
struct DirectoryEncoder {
  /// Names are hashed as unsigned bytes, which the superblock says too.
  static let hashVersion = UInt8(EXT2_HASH_HALF_MD4)
  private static let rootLimit = (Ext4.blockSize - 32) / 8
  private static let nodeLimit = (Ext4.blockSize - 8) / 8

  private struct Name {
    var entry: DirectoryEntry
    var hash: UInt32
    var minor: UInt32
    var kind: UInt8
    var size: Int
  }

  /// A leaf block: the names in it, and whether its first hash also ends the block before.
  private struct Leaf {
    var names: Range<Int>
    var hash: UInt32
  }

  let tree: DiskTree
  let writer: BlockWriter
  let seed: [UInt32]
  private let block: UnsafeMutableRawBufferPointer

  init(_ tree: DiskTree, _ writer: BlockWriter, seed: [UInt32]) {
    self.tree = tree
    self.writer = writer
    self.seed = seed
    block = .allocate(byteCount: Ext4.blockSize, alignment: 8)
  }

  func close() { block.deallocate() }

  /// Writes a directory's blocks, which lie side by side.
  ///
  /// - Returns: how many there are, and whether they are a hash tree.
  func write(_ directory: UInt32) throws(ImageError) -> (blocks: UInt64, isIndexed: Bool) {
    var names: [Name] = []
    var total = 24
    for entry in tree.children(directory) {
      let size = Self.entrySize(Int(entry.nameLength))
      names.append(Name(entry: entry, hash: 0, minor: 0, kind: tree[entry.node].kind.rawValue, size: size))
      total += size
    }
    if total <= Ext4.blockSize {
      try writeSingle(directory, names)
      return (1, false)
    }
    for index in names.indices { try hash(&names[index]) }
    names.sort { a, b in
      if a.hash != b.hash { return a.hash < b.hash }
      if a.minor != b.minor { return a.minor < b.minor }
      // Deterministic even where both hashes are equal.
      return a.entry.name < b.entry.name
    }
    return (try writeTree(directory, names, leaves: split(names)), true)
  }

  static func entrySize(_ nameLength: Int) -> Int { (8 + nameLength + 3) & ~3 }

  private func hash(_ name: inout Name) throws(ImageError) {
    var hash: ext2_dirhash_t = 0
    var minor: ext2_dirhash_t = 0
    let failure = tree.withName(name.entry) { bytes in
      ext2fs_dirhash2(
        Int32(EXT2_HASH_HALF_MD4_UNSIGNED), bytes.bindMemory(to: CChar.self).baseAddress, Int32(bytes.count), nil, 0,
        seed, &hash, &minor)
    }
    if failure != 0 { throw .library("hash a directory's names", failure) }
    name.hash = hash
    name.minor = minor
  }

  private func writeSingle(_ directory: UInt32, _ names: [Name]) throws(ImageError) {
    block.initializeMemory(as: UInt8.self, repeating: 0)
    putDots(directory, dotDotSize: names.isEmpty ? Ext4.blockSize - 12 : 12)
    put(names[...], at: 24)
    try writer.append(UnsafeRawBufferPointer(block))
  }

  /// Cuts the sorted names into blocks. A hash whose names are in two blocks is marked by its lowest bit.
  private func split(_ names: [Name]) -> [Leaf] {
    var leaves: [Leaf] = []
    var start = 0
    var used = 0
    for (index, name) in names.enumerated() {
      if used + name.size > Ext4.blockSize {
        leaves.append(leaf(names, start..<index))
        start = index
        used = 0
      }
      used += name.size
    }
    leaves.append(leaf(names, start..<names.count))
    return leaves
  }

  private func leaf(_ names: [Name], _ range: Range<Int>) -> Leaf {
    let hash = names[range.lowerBound].hash
    let continues = range.lowerBound > 0 && names[range.lowerBound - 1].hash == hash
    return Leaf(names: range, hash: continues ? hash | 1 : hash)
  }

  private func writeTree(_ directory: UInt32, _ names: [Name], leaves: [Leaf]) throws(ImageError) -> UInt64 {
    let hasNodes = leaves.count > Self.rootLimit
    let nodeCount = hasNodes ? (leaves.count + Self.nodeLimit - 1) / Self.nodeLimit : 0
    guard nodeCount <= Self.rootLimit else {
      throw ImageError(.limitExceeded, "a directory with \(names.count) entries is larger than ext4 allows")
    }
    let firstLeaf = 1 + nodeCount
    func pointers(_ range: Range<Int>) -> [(UInt32, UInt32)] {
      range.map { (leaves[$0].hash, UInt32(firstLeaf + $0)) }
    }
    func range(_ node: Int) -> Range<Int> {
      node * Self.nodeLimit..<min((node + 1) * Self.nodeLimit, leaves.count)
    }

    block.initializeMemory(as: UInt8.self, repeating: 0)
    putDots(directory, dotDotSize: Ext4.blockSize - 12)
    block.put(Self.hashVersion, at: 28)
    block.put(UInt8(8), at: 29)
    block.put(UInt8(hasNodes ? 1 : 0), at: 30)
    let top =
      hasNodes
      ? (0..<nodeCount).map { (leaves[range($0).lowerBound].hash, UInt32(1 + $0)) } : pointers(0..<leaves.count)
    putPointers(top, at: 32, limit: Self.rootLimit)
    try writer.append(UnsafeRawBufferPointer(block))

    for node in 0..<nodeCount {
      block.initializeMemory(as: UInt8.self, repeating: 0)
      // An empty entry over the whole block, for those who read the directory as a plain list.
      block.put(UInt16(Ext4.blockSize), at: 4)
      putPointers(pointers(range(node)), at: 8, limit: Self.nodeLimit)
      try writer.append(UnsafeRawBufferPointer(block))
    }
    for leaf in leaves {
      block.initializeMemory(as: UInt8.self, repeating: 0)
      put(names[leaf.names], at: 0)
      try writer.append(UnsafeRawBufferPointer(block))
    }
    return UInt64(firstLeaf + leaves.count)
  }

  private func putPointers(_ pointers: [(hash: UInt32, block: UInt32)], at start: Int, limit: Int) {
    // The first pointer's hash is 0 by definition; limit and count stand in its place.
    for (index, pointer) in pointers.enumerated() {
      block.put(pointer.hash, at: start + index * 8)
      block.put(pointer.block, at: start + index * 8 + 4)
    }
    block.put(UInt16(limit), at: start)
    block.put(UInt16(pointers.count), at: start + 2)
  }

  private func putDots(_ directory: UInt32, dotDotSize: Int) {
    putHead(directory, size: 12, nameLength: 1, kind: Node.Kind.directory.rawValue, at: 0)
    block[8] = 0x2e
    putHead(tree[directory].parent, size: dotDotSize, nameLength: 2, kind: Node.Kind.directory.rawValue, at: 12)
    block[20] = 0x2e
    block[21] = 0x2e
  }

  /// Puts names one behind the other; the last one's entry reaches to the block's end.
  private func put(_ names: ArraySlice<Name>, at start: Int) {
    var at = start
    for (index, name) in zip(names.indices, names) {
      let size = index == names.endIndex - 1 ? Ext4.blockSize - at : name.size
      putHead(name.entry.node, size: size, nameLength: name.entry.nameLength, kind: name.kind, at: at)
      let target = UnsafeMutableRawBufferPointer(rebasing: block[(at + 8)...])
      tree.withName(name.entry) { target.copyMemory(from: $0) }
      at += size
    }
  }

  private func putHead(_ inode: UInt32, size: Int, nameLength: UInt8, kind: UInt8, at offset: Int) {
    block.put(inode, at: offset)
    block.put(UInt16(size), at: offset + 4)
    block.put(nameLength, at: offset + 6)
    block.put(kind, at: offset + 7)
  }
}
