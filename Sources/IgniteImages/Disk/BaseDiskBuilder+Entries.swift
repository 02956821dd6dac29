/// Making files of each kind.
extension BaseDiskBuilder {
  /// Where a new name goes: its directory, its bytes, and what has the name now.
  private struct Place {
    var parent: UInt32
    var name: ArraySlice<UInt8>
    var existing: UInt32
  }

  private func place(_ path: DiskPath) throws(ImageError) -> Place {
    guard let last = path.last else { throw ImageError(.corrupt, "only a directory can stand at the image's root") }
    let name = path.bytes[last]
    try checkName(name)
    guard let parent = try resolve(path, .make) else { throw ImageError(.notFound, "its directory is missing") }
    return Place(parent: parent, name: name, existing: lookup(parent, name))
  }

  /// Makes an inode and gives it the name, in place of what had it.
  private func make(_ kind: Node.Kind, _ entry: TarEntry, at place: Place) throws(ImageError) -> UInt32 {
    let node = try tree.makeNode(kind)
    try setAttributes(node, entry.attributes)
    if place.existing != 0 { removeTree(place.existing) }
    try insert(place.parent, place.name, node)
    return node
  }

  private func setAttributes(_ node: UInt32, _ attributes: FileAttributes) throws(ImageError) {
    let number = try attributeSets.number(attributes.extendedAttributes)
    if number != 0 { statistics.skippedAttributes += UInt64(attributeSets[number].skipped) }
    tree[node].attributes = number
    tree[node].mode = attributes.mode & 0o7777
    tree[node].uid = attributes.uid
    tree[node].gid = attributes.gid
    tree[node].seconds = attributes.modified.seconds
    tree[node].nanoseconds = min(attributes.modified.nanoseconds, 999_999_999)
  }

  func makeDirectory(_ entry: TarEntry, at path: DiskPath) throws(ImageError) {
    if path.last == nil {
      try setAttributes(Ext4.rootInode, entry.attributes)
      return
    }
    let place = try place(path)
    if place.existing != 0 {
      let node = tree.entry(place.existing).node
      if tree[node].kind == .directory {
        // Directories of several layers are one; the last one's attributes hold.
        try setAttributes(node, entry.attributes)
        tree.touch(place.existing, layer: layer)
        return
      }
    }
    _ = try make(.directory, entry, at: place)
  }

  func makeFile(_ entry: TarEntry, at path: DiskPath, data: TarReader?) throws(ImageError) {
    try makeFile(entry, at: path) { writer throws(ImageError) in
      guard let data else { return 0 }
      if let segments = entry.segments {
        for segment in segments {
          try writer.skip(to: segment.offset)
          let got = try writer.append(segment.length, data.readStored)
          guard got == segment.length else { throw ImageError(.corrupt, "its data ends early") }
        }
      } else {
        let got = try writer.append(entry.size, data.readStored)
        guard got == entry.size else { throw ImageError(.corrupt, "its data ends early") }
      }
      return entry.size
    }
  }

  /// Makes a file whose content the closure writes; it returns the file's length.
  func makeFile(
    _ entry: TarEntry, at path: DiskPath, content: (inout FileDataWriter) throws(ImageError) -> UInt64
  ) throws(ImageError) {
    guard entry.size <= UInt64(UInt32.max) * UInt64(Ext4.blockSize) else {
      throw ImageError(.unsupported, "its \(entry.size) bytes are more than ext4 allows in a file")
    }
    let node = try make(.file, entry, at: try place(path))
    var data = FileDataWriter(writer)
    let size = try content(&data)
    try data.finish(size: size)
    tree[node].size = data.position
    statistics.contentBytes += data.position
    try store(data.extents, blocks: data.blocks, in: node)
  }

  private func store(_ extents: [Extent], blocks: UInt64, in node: UInt32) throws(ImageError) {
    tree[node].blocks = blocks
    if extents.isEmpty { return }
    if extents.count == 1, extents[0].logical == 0 {
      tree[node].start = extents[0].physical
      tree[node].count = extents[0].count
      return
    }
    let built = try ExtentTree.write(extents, to: writer)
    tree[node].blocks += UInt64(built.blocks.count)
    let list = ExtentList(extents: extents, treeBlocks: built.blocks, root: built.root)
    if let free = freeExtentLists.popLast() {
      extentLists[Int(free)] = list
      tree[node].extra = free + 1
    } else {
      extentLists.append(list)
      tree[node].extra = UInt32(extentLists.count)
    }
  }

  func makeSymbolicLink(_ entry: TarEntry, at path: DiskPath) throws(ImageError) {
    let target = entry.linkTarget
    guard !target.isEmpty else { throw ImageError(.corrupt, "the symbolic link leads nowhere: its target is empty") }
    guard target.count < Ext4.blockSize else {
      throw ImageError(.unsupported, "the symbolic link's target has \(target.count) bytes, and Linux allows 4095")
    }
    guard !target.contains(0) else { throw ImageError(.corrupt, "the symbolic link's target holds a zero byte") }
    guard linkBytes + target.count <= 512 << 20 else {
      throw ImageError(.limitExceeded, "the targets of the image's symbolic links have more than 512 MiB")
    }
    let node = try make(.symbolicLink, entry, at: try place(path))
    linkBytes += target.count
    linkTargets.append(target)
    tree[node].extra = UInt32(linkTargets.count)
    tree[node].size = UInt64(target.count)
    if target.count >= 60 {
      tree[node].start = UInt32(truncatingIfNeeded: writer.nextBlock)
      tree[node].count = 1
      tree[node].blocks = 1
      let source = MemoryByteSource(target)
      var data = FileDataWriter(writer)
      _ = try data.append(UInt64(target.count), source.read)
      try data.finish(size: 0)
    }
  }

  func makeSpecial(_ entry: TarEntry, at path: DiskPath) throws(ImageError) {
    var device: UInt32 = 0
    if entry.kind != .fifo {
      guard let encoded = InodeEncoder.encodedDevice(major: entry.deviceMajor, minor: entry.deviceMinor) else {
        throw ImageError(
          .unsupported, "the device number \(entry.deviceMajor):\(entry.deviceMinor) is larger than Linux allows")
      }
      device = encoded
    }
    let kind: Node.Kind
    switch entry.kind {
    case .characterDevice: kind = .characterDevice
    case .blockDevice: kind = .blockDevice
    default: kind = .fifo
    }
    let node = try make(kind, entry, at: try place(path))
    tree[node].extra = device
  }

  func makeHardLink(_ entry: TarEntry, at path: DiskPath, data: TarReader?) throws(ImageError) {
    let place = try place(path)
    guard let target = try linkTarget(entry) else {
      if entry.size > 0, data != nil {
        // pax lets a link carry its data, for the case that the other name was left out.
        return try makeFile(entry, at: path, data: data)
      }
      throw ImageError(
        .corrupt, "it is a hard link to \(displayName(entry.linkTarget)), which is not in this layer or one below")
    }
    guard tree[target].kind != .directory else {
      throw ImageError(.corrupt, "it is a hard link to \(displayName(entry.linkTarget)), which is a directory")
    }
    if place.existing != 0, tree.entry(place.existing).node == target {
      tree.touch(place.existing, layer: layer)
      return
    }
    guard tree[target].links < Ext4.maximumLinks else {
      throw ImageError(
        .unsupported, "\(displayName(entry.linkTarget)) has more hard links than the \(Ext4.maximumLinks) of ext4")
    }
    // The name may lie above the target: hold the inode while what had the name goes.
    tree[target].links += 1
    if place.existing != 0 { removeTree(place.existing) }
    tree[target].links -= 1
    try insert(place.parent, place.name, target)
  }

  /// The inode of a hard link's target; its last component is not followed, its directories are, within the image.
  private func linkTarget(_ entry: TarEntry) throws(ImageError) -> UInt32? {
    let path = DiskPath(entry.linkTarget)
    guard let last = path.last, let parent = try resolve(path, .giveUp) else { return nil }
    let found = lookup(parent, path.bytes[last])
    return found == 0 ? nil : tree.entry(found).node
  }
}
