internal import CExt2fs
internal import Glibc

/// Writing what stands around the data: directories, attributes, inodes, bitmaps, descriptors, superblock.
extension BaseDiskBuilder {
  /// Ends the disk and closes it.
  ///
  /// - Parameter sync: whether to wait until the file is on stable storage; the directory's entry is the caller's.
  /// - Returns: what the disk holds.
  /// - Throws: `noSpace`, `limitExceeded` or `io`; the file is removed with the builder then.
  @discardableResult
  public func finish(sync: Bool = false) throws(ImageError) -> DiskStatistics {
    try checkOpen()
    let began = monotonicSeconds()
    let uuid = DiskUUID(identity: options.identity)
    let directories = try writeDirectories(seed: uuid.hashSeed)
    let attributeBlocks = try writeAttributeBlocks()
    try punchFreed()
    try writer.flush()
    var layout = try DiskLayout(
      dataEnd: writer.nextBlock, inodes: UInt64(tree.nodes.count - 1), minimumBytes: options.minimumBytes)
    let size = layout.totalBlocks * UInt64(Ext4.blockSize)
    let fileSize = options.roundsFileSize ? DiskSize.rounded(size) : size
    if ftruncate(descriptor.number, off_t(clamping: fileSize)) != 0 { throw .system("extend", path) }
    try writeInodes(&layout, directories, attributeBlocks)
    let fileSystem = try Ext2FileSystem(
      path: path, channel: channel, layout: layout, label: options.label, uuid: uuid, tree: tree, freed: freedExtents)
    try fileSystem.close()
    statistics.finishSeconds = monotonicSeconds() - began

    if sync {
      let began = monotonicSeconds()
      if fdatasync(descriptor.number) != 0 { throw .system("write", path) }
      statistics.syncSeconds = monotonicSeconds() - began
    }
    var status = stat()
    if fstat(descriptor.number, &status) != 0 { throw .system("read", path) }
    statistics.diskBytes = UInt64(status.st_size)
    statistics.allocatedBytes = UInt64(status.st_blocks) * 512
    statistics.inodes = UInt64(tree.nodeCount)
    markFinished()
    return statistics
  }

  private struct WrittenDirectory {
    var extents: [Extent]
    var blocks: UInt64
    var isIndexed: Bool
  }

  private func writeDirectories(seed: [UInt32]) throws(ImageError) -> [UInt32: InodeEncoder.Content] {
    let encoder = DirectoryEncoder(tree, writer, seed: seed)
    defer { encoder.close() }
    var written: [UInt32: InodeEncoder.Content] = [:]
    for number in UInt32(Ext4.rootInode)..<UInt32(tree.nodes.count) where tree[number].kind == .directory {
      let start = writer.nextBlock
      let (blocks, isIndexed) = try encoder.write(number)
      var extents: [Extent] = []
      var done: UInt64 = 0
      while done < blocks {
        let count = min(UInt64(Ext4.extentBlocks), blocks - done)
        extents.append(
          Extent(
            logical: UInt32(truncatingIfNeeded: done), physical: UInt32(truncatingIfNeeded: start + done),
            count: UInt32(count)))
        done += count
      }
      let built = try ExtentTree.write(extents, to: writer)
      let links = tree[number].subdirectories + 2
      written[number] = InodeEncoder.Content(
        bytes: built.root, hasExtents: true, isIndexed: isIndexed, size: blocks * UInt64(Ext4.blockSize),
        blocks: blocks + UInt64(built.blocks.count),
        // ext4's dir_nlink: 1 stands for more than can be counted.
        links: links > Ext4.maximumLinks ? 1 : UInt16(links))
    }
    return written
  }

  /// Writes the blocks of attributes that do not fit behind their inodes; inodes with the same ones share a block.
  ///
  /// - Returns: the block of each inode that has one.
  private func writeAttributeBlocks() throws(ImageError) -> [UInt32: UInt32] {
    var users: [UInt32: [UInt32]] = [:]
    for number in Ext4.rootInode..<UInt32(tree.nodes.count) where tree[number].attributes != 0 {
      if attributeSets[tree[number].attributes].block != nil {
        users[tree[number].attributes, default: []].append(number)
      }
    }
    var result: [UInt32: UInt32] = [:]
    for set in users.keys.sorted() {
      guard var block = attributeSets[set].block, let inodes = users[set] else { continue }
      for start in stride(from: 0, to: inodes.count, by: EncodedAttributes.maximumReferences) {
        let sharing = inodes[start..<min(start + EncodedAttributes.maximumReferences, inodes.count)]
        let number = UInt32(truncatingIfNeeded: writer.nextBlock)
        let written = block.withUnsafeMutableBytes { bytes -> Result<Void, ImageError> in
          bytes.put(UInt32(sharing.count), at: 4)
          do throws(ImageError) {
            return .success(try writer.append(UnsafeRawBufferPointer(bytes)))
          } catch {
            return .failure(error)
          }
        }
        try written.get()
        for inode in sharing { result[inode] = number }
      }
    }
    return result
  }

  /// Writes the inode tables, one behind the other; what no inode needs stays a hole.
  private func writeInodes(
    _ layout: inout DiskLayout, _ directories: [UInt32: InodeEncoder.Content], _ attributeBlocks: [UInt32: UInt32]
  ) throws(ImageError) {
    let perBlock = UInt32(Ext4.blockSize / Ext4.inodeSize)
    let last = UInt32(tree.nodes.count - 1)
    // Inodes of all groups make one row, since the tables lie side by side.
    var number: UInt32 = 1
    while number <= last {
      for _ in 0..<perBlock {
        let target = try writer.room(Ext4.inodeSize)
        target.initializeMemory(as: UInt8.self, repeating: 0)
        if number <= last, tree[number].kind != .unused {
          let node = tree[number]
          let content = directories[number] ?? content(node)
          let set = node.attributes == 0 ? nil : attributeSets[node.attributes]
          InodeEncoder.encode(
            node, content, attributes: set?.inline ?? [], attributeBlock: attributeBlocks[number] ?? 0, into: target)
          if node.kind == .directory { layout.countDirectory(number) }
        }
        writer.commit(Ext4.inodeSize)
        number += 1
      }
    }
    try writer.flush()
  }

  private func content(_ node: Node) -> InodeEncoder.Content {
    var content = InodeEncoder.Content(
      bytes: [], hasExtents: false, size: node.size, blocks: node.blocks, links: UInt16(min(node.links, 65000)))
    switch node.kind {
    case .characterDevice, .blockDevice: content.bytes = InodeEncoder.deviceBytes(node.extra)
    case .symbolicLink where node.count == 0:
      content.bytes = node.extra == 0 ? [] : linkTargets[Int(node.extra) - 1]
    case .file, .symbolicLink:
      content.hasExtents = true
      if node.kind == .file, node.extra != 0 {
        content.bytes = extentLists[Int(node.extra) - 1].root
      } else if node.count > 0 {
        content.bytes = ExtentTree.root([Extent(logical: 0, physical: node.start, count: node.count)])
      } else {
        content.bytes = ExtentTree.root([])
      }
    case .directory, .fifo, .unused: break
    }
    return content
  }
}
