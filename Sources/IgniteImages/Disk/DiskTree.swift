/// A file, directory or other inode of a disk under construction. Its index in the tree is its inode number.
struct Node {
  enum Kind: UInt8 {
    // The values are ext4's file types in directory entries.
    case unused = 0
    case file = 1
    case directory = 2
    case characterDevice = 3
    case blockDevice = 4
    case fifo = 5
    case symbolicLink = 7
  }

  var kind = Kind.unused
  var mode: UInt16 = 0
  var uid: UInt32 = 0
  var gid: UInt32 = 0
  var seconds: Int64 = 0
  var nanoseconds: UInt32 = 0
  /// Names that lead here; directories count theirs when they are written.
  var links: UInt32 = 0
  var size: UInt64 = 0
  /// The extended attributes' index in the table, plus one; 0 for none.
  var attributes: UInt32 = 0
  /// Blocks taken by data and by the map that leads to them.
  var blocks: UInt64 = 0
  /// The first extent when there is only one, and it begins the file.
  var start: UInt32 = 0
  var count: UInt32 = 0
  /// A file's index in the table of extent lists plus one, a link's in that of targets, a device's encoded number.
  var extra: UInt32 = 0
  /// Of directories only: where `..` leads, and the list of entries.
  var parent: UInt32 = 0
  var firstEntry: UInt32 = 0
  var lastEntry: UInt32 = 0
  var subdirectories: UInt32 = 0
  /// The layer that has last hidden all that lower layers put here.
  var clearedBy: UInt32 = 0
}

/// A name in a directory.
struct DirectoryEntry {
  var parent: UInt32 = 0
  var node: UInt32 = 0
  var name: UInt32 = 0
  var nameLength: UInt8 = 0
  /// The layer that put it here, or put it here again.
  var layer: UInt32 = 0
  var previous: UInt32 = 0
  var next: UInt32 = 0
  var hash: UInt32 = 0
}

/// The whole file system's names in memory: no directory is searched or written before the disk is finished, so that
/// replacing, hiding and linking cost the same in a directory of a hundred thousand files as in a small one.
///
/// Entries are kept in the order of their making, which makes disks reproducible.
struct DiskTree {
  private(set) var nodes: ContiguousArray<Node>
  private(set) var entries: ContiguousArray<DirectoryEntry> = [DirectoryEntry()]
  private var names: ContiguousArray<UInt8> = []
  private var freeNodes: [UInt32] = []
  private var freeEntries: [UInt32] = []
  /// Open addressing over entries: 0 is free, `tombstone` was used.
  private var slots: ContiguousArray<UInt32>
  private var usedSlots = 0
  private let maximumNodes: UInt32

  private static let tombstone = UInt32.max
  private static let maximumNameBytes = 1 << 30

  init(maximumNodes: UInt32) {
    self.maximumNodes = maximumNodes
    nodes = ContiguousArray(repeating: Node(), count: Int(Ext4.firstInode))
    slots = ContiguousArray(repeating: 0, count: 1 << 12)
    nodes[Int(Ext4.rootInode)] = Node(kind: .directory, mode: 0o755, parent: Ext4.rootInode)
  }

  /// The inodes in use, without the reserved ones but for the root.
  var nodeCount: Int { nodes.count - Int(Ext4.firstInode) - freeNodes.count + 1 }
  var unusedNodes: [UInt32] { freeNodes }

  subscript(_ number: UInt32) -> Node {
    get { nodes[Int(number)] }
    _modify { yield &nodes[Int(number)] }
  }

  func entry(_ number: UInt32) -> DirectoryEntry { entries[Int(number)] }

  mutating func touch(_ entry: UInt32, layer: UInt32) { entries[Int(entry)].layer = layer }

  mutating func makeNode(_ kind: Node.Kind) throws(ImageError) -> UInt32 {
    if let number = freeNodes.popLast() {
      nodes[Int(number)] = Node(kind: kind)
      return number
    }
    guard nodes.count < Int(maximumNodes) else {
      throw ImageError(.limitExceeded, "the image has more than \(maximumNodes) files")
    }
    nodes.append(Node(kind: kind))
    return UInt32(nodes.count - 1)
  }

  mutating func freeNode(_ number: UInt32) {
    nodes[Int(number)] = Node()
    freeNodes.append(number)
  }

  // MARK: - Names

  /// The entry of that name in a directory; 0 if there is none.
  func lookup(_ parent: UInt32, _ name: UnsafeRawBufferPointer) -> UInt32 {
    let hash = Self.hash(parent, name)
    let mask = slots.count - 1
    var slot = Int(hash) & mask
    while true {
      let number = slots[slot]
      if number == 0 { return 0 }
      if number != Self.tombstone {
        let entry = entries[Int(number)]
        if entry.hash == hash, entry.parent == parent, equals(entry, name) { return number }
      }
      slot = (slot + 1) & mask
    }
  }

  /// Puts a name that is not there yet into a directory.
  mutating func insert(
    _ parent: UInt32, _ name: UnsafeRawBufferPointer, node: UInt32, layer: UInt32
  ) throws(ImageError) -> UInt32 {
    guard names.count + name.count <= Self.maximumNameBytes, entries.count < Int(maximumNodes) * 2 else {
      throw ImageError(.limitExceeded, "the image has more names than fit into memory")
    }
    if usedSlots * 10 > slots.count * 6 { rebuild() }
    var entry = DirectoryEntry(
      parent: parent, node: node, name: UInt32(names.count), nameLength: UInt8(truncatingIfNeeded: name.count),
      layer: layer)
    entry.hash = Self.hash(parent, name)
    entry.previous = nodes[Int(parent)].lastEntry
    names.append(contentsOf: name)
    let number: UInt32
    if let free = freeEntries.popLast() {
      number = free
      entries[Int(number)] = entry
    } else {
      number = UInt32(entries.count)
      entries.append(entry)
    }
    if entry.previous == 0 {
      nodes[Int(parent)].firstEntry = number
    } else {
      entries[Int(entry.previous)].next = number
    }
    nodes[Int(parent)].lastEntry = number
    if nodes[Int(node)].kind == .directory {
      nodes[Int(parent)].subdirectories += 1
      nodes[Int(node)].parent = parent
    }
    nodes[Int(node)].links += 1
    fill(entry.hash, number)
    return number
  }

  /// Takes a name out of its directory and returns its inode, which may have no name left.
  mutating func remove(_ number: UInt32) -> UInt32 {
    let entry = entries[Int(number)]
    let mask = slots.count - 1
    var slot = Int(entry.hash) & mask
    while slots[slot] != number { slot = (slot + 1) & mask }
    slots[slot] = Self.tombstone
    if entry.previous == 0 {
      nodes[Int(entry.parent)].firstEntry = entry.next
    } else {
      entries[Int(entry.previous)].next = entry.next
    }
    if entry.next == 0 {
      nodes[Int(entry.parent)].lastEntry = entry.previous
    } else {
      entries[Int(entry.next)].previous = entry.previous
    }
    if nodes[Int(entry.node)].kind == .directory { nodes[Int(entry.parent)].subdirectories -= 1 }
    nodes[Int(entry.node)].links -= 1
    entries[Int(number)] = DirectoryEntry()
    freeEntries.append(number)
    return entry.node
  }

  /// Calls the body with the name's bytes, which are good only for the call.
  func withName<Result>(_ entry: DirectoryEntry, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    names.withUnsafeBytes { bytes in
      let start = Int(entry.name)
      return body(UnsafeRawBufferPointer(rebasing: bytes[start..<start + Int(entry.nameLength)]))
    }
  }

  /// A directory's entries, in the order of their making.
  func children(_ directory: UInt32) -> [DirectoryEntry] {
    var list: [DirectoryEntry] = []
    var number = nodes[Int(directory)].firstEntry
    while number != 0 {
      list.append(entries[Int(number)])
      number = entries[Int(number)].next
    }
    return list
  }

  private func equals(_ entry: DirectoryEntry, _ name: UnsafeRawBufferPointer) -> Bool {
    guard Int(entry.nameLength) == name.count else { return false }
    return withName(entry) { $0.elementsEqual(name) }
  }

  /// Seeded anew in each process, so that no image can be made to collide.
  private static func hash(_ parent: UInt32, _ name: UnsafeRawBufferPointer) -> UInt32 {
    var hasher = Hasher()
    hasher.combine(parent)
    hasher.combine(bytes: name)
    return UInt32(truncatingIfNeeded: hasher.finalize())
  }

  private mutating func fill(_ hash: UInt32, _ number: UInt32) {
    let mask = slots.count - 1
    var slot = Int(hash) & mask
    while slots[slot] != 0, slots[slot] != Self.tombstone { slot = (slot + 1) & mask }
    if slots[slot] == 0 { usedSlots += 1 }
    slots[slot] = number
  }

  private mutating func rebuild() {
    let live = entries.count - 1 - freeEntries.count
    var size = 1 << 12
    while size < live * 4 { size *= 2 }
    slots = ContiguousArray(repeating: 0, count: size)
    usedSlots = 0
    for number in 1..<UInt32(entries.count) where entries[Int(number)].node != 0 {
      fill(entries[Int(number)].hash, number)
    }
  }
}
