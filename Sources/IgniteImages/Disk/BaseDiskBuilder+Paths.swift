/// Finding places in the tree. Nothing here touches the host's file system, so no name can lead out of the image.
extension BaseDiskBuilder {
  /// Symbolic links followed in one name, as Linux has it.
  private static let maximumLinks = 40
  private static let maximumLinkSteps = 200_000_000

  /// What to do about a directory on the way that is not there.
  enum Missing {
    case make, giveUp
  }

  /// The entry of that name in a directory; 0 if there is none.
  func lookup(_ parent: UInt32, _ name: ArraySlice<UInt8>) -> UInt32 {
    name.withUnsafeBytes { tree.lookup(parent, $0) }
  }

  /// Where the directory is that a name's last component lies in; symbolic links are followed within the image.
  ///
  /// - Returns: its inode; nil where it is missing and is not to be made.
  func resolve(_ path: DiskPath, _ missing: Missing) throws(ImageError) -> UInt32? {
    var directory = Ext4.rootInode
    for (index, range) in zip(path.parent.indices, path.parent) {
      let found = lookup(directory, path.bytes[range])
      if found != 0, tree[tree.entry(found).node].kind == .directory {
        directory = tree.entry(found).node
      } else if found != 0, tree[tree.entry(found).node].kind == .symbolicLink {
        let rest = path.parent[index...].map { path.bytes[$0] }
        return try follow(rest, from: directory, missing)
      } else {
        guard found == 0 else { throw notDirectory(path.bytes[..<range.upperBound]) }
        guard missing == .make else { return nil }
        directory = try makeMissing(directory, path.bytes[range])
      }
    }
    return directory
  }

  /// The same from the first symbolic link on, component by component.
  private func follow(
    _ components: [ArraySlice<UInt8>], from start: UInt32, _ missing: Missing
  ) throws(ImageError) -> UInt32? {
    var pending = Array(components.reversed())
    var directory = start
    var links = 0
    while let name = pending.popLast() {
      linkSteps += 1
      guard linkSteps < Self.maximumLinkSteps else {
        throw ImageError(.limitExceeded, "the names in the image lead through too many symbolic links")
      }
      if name.elementsEqual([0x2e, 0x2e]) {
        directory = tree[directory].parent
        continue
      }
      try checkName(name)
      let found = lookup(directory, name)
      if found == 0 {
        guard missing == .make else { return nil }
        directory = try makeMissing(directory, name)
        continue
      }
      let node = tree.entry(found).node
      switch tree[node].kind {
      case .directory: directory = node
      case .symbolicLink:
        links += 1
        guard links <= Self.maximumLinks else {
          throw ImageError(
            .corrupt, "its name leads through more than \(Self.maximumLinks) symbolic links, or in a circle")
        }
        let target = linkTargets[Int(tree[node].extra) - 1]
        if target.first == 0x2f { directory = Ext4.rootInode }
        pending.append(contentsOf: linkComponents(target).reversed())
      default: throw notDirectory(name)
      }
    }
    return directory
  }

  private func makeMissing(_ parent: UInt32, _ name: ArraySlice<UInt8>) throws(ImageError) -> UInt32 {
    try checkName(name)
    let node = try tree.makeNode(.directory)
    tree[node].mode = 0o755
    try insert(parent, name, node)
    return node
  }

  func insert(_ parent: UInt32, _ name: ArraySlice<UInt8>, _ node: UInt32) throws(ImageError) {
    // Typed throws do not pass through the closure.
    let result = name.withUnsafeBytes { bytes -> Result<UInt32, ImageError> in
      do throws(ImageError) {
        return .success(try tree.insert(parent, bytes, node: node, layer: layer))
      } catch {
        return .failure(error)
      }
    }
    _ = try result.get()
  }

  func checkName(_ name: ArraySlice<UInt8>) throws(ImageError) {
    guard name.count <= 255 else {
      throw ImageError(.unsupported, "the name has a part of \(name.count) bytes, and ext4 allows 255")
    }
    guard !name.contains(0) else { throw ImageError(.corrupt, "the name holds a zero byte") }
  }

  private func notDirectory(_ name: ArraySlice<UInt8>) -> ImageError {
    ImageError(.corrupt, "it lies below \(displayName(name)), which is no directory")
  }
}
