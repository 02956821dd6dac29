internal import CExt2fs

/// Taking files away: replaced ones, and those that a layer hides.
extension BaseDiskBuilder {
  /// Removes a name, and all below it.
  func removeTree(_ entry: UInt32) {
    var pending = [entry]
    while let number = pending.last {
      let node = tree.entry(number).node
      if tree[node].kind == .directory, tree[node].firstEntry != 0 {
        // Its entries go first: this name stays on the stack below them.
        var child = tree[node].firstEntry
        while child != 0 {
          pending.append(child)
          child = tree.entry(child).next
        }
        continue
      }
      pending.removeLast()
      release(tree.remove(number))
    }
  }

  /// Frees an inode that has no name left, and its blocks.
  private func release(_ node: UInt32) {
    guard tree[node].links == 0 else { return }
    if tree[node].kind == .file, tree[node].extra != 0 {
      let index = Int(tree[node].extra) - 1
      freedExtents.append(contentsOf: extentLists[index].extents)
      for block in extentLists[index].treeBlocks { freedExtents.append(Extent(logical: 0, physical: block, count: 1)) }
      extentLists[index] = ExtentList(extents: [], treeBlocks: [], root: [])
      freeExtentLists.append(UInt32(index))
    } else if tree[node].count > 0 {
      freedExtents.append(Extent(logical: 0, physical: tree[node].start, count: tree[node].count))
    }
    if tree[node].kind == .symbolicLink, tree[node].extra != 0 {
      let index = Int(tree[node].extra) - 1
      linkBytes -= linkTargets[index].count
      linkTargets[index] = []
    }
    tree.freeNode(node)
  }

  /// Hides what lower layers have under a name: a whiteout. What this layer has put there stays.
  func hide(_ entry: UInt32) {
    let node = tree.entry(entry).node
    if tree[node].kind == .directory {
      hideContent(node)
      guard tree.entry(entry).layer < layer else { return }
      if tree[node].firstEntry == 0 {
        release(tree.remove(entry))
      } else {
        makeFresh(entry)
      }
    } else if tree.entry(entry).layer < layer {
      release(tree.remove(entry))
    }
  }

  /// Hides all that lower layers have in a directory: an opaque mark.
  ///
  /// A directory below that this layer has put something into without naming it stays, as one just made: the order of
  /// entries in a layer makes no difference. Each directory is walked once a layer, since nothing of lower layers can
  /// come back into it.
  func hideContent(_ directory: UInt32) {
    var order: [(entry: UInt32, node: UInt32)] = []
    var pending = [directory]
    while let node = pending.popLast() {
      if tree[node].clearedBy == layer { continue }
      tree[node].clearedBy = layer
      var child = tree[node].firstEntry
      while child != 0 {
        let entry = tree.entry(child)
        let next = entry.next
        if tree[entry.node].kind == .directory {
          order.append((child, entry.node))
          pending.append(entry.node)
        } else if entry.layer < layer {
          release(tree.remove(child))
        }
        child = next
      }
    }
    // Directories were met before those below them, so from the end each is settled before its own.
    for (entry, node) in order.reversed() where tree.entry(entry).layer < layer {
      if tree[node].firstEntry == 0 {
        release(tree.remove(entry))
      } else {
        makeFresh(entry)
      }
    }
  }

  private func makeFresh(_ entry: UInt32) {
    let node = tree.entry(entry).node
    tree[node].mode = 0o755
    tree[node].uid = 0
    tree[node].gid = 0
    tree[node].seconds = 0
    tree[node].nanoseconds = 0
    tree[node].attributes = 0
    tree.touch(entry, layer: layer)
  }

  /// Gives the host the space of freed blocks back; where the host's file system cannot, they only stay unused.
  func punchFreed() throws(ImageError) {
    guard punched < freedExtents.count else { return }
    try writer.flush()
    for extent in freedExtents[punched...] {
      let size = Int64(Ext4.blockSize)
      _ = ignite_punch_hole(descriptor.number, Int64(extent.physical) * size, Int64(extent.count) * size)
    }
    punched = freedExtents.count
  }
}
