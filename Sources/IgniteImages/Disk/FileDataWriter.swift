/// Writes one file's content: allocates as it goes, leaves holes for what is declared as such and for long runs of
/// zeros, and collects the extents.
struct FileDataWriter {
  /// Only whole pieces of this length, aligned in the file, are looked at for zeros: shorter holes would cost more
  /// extents than they save blocks.
  private static let piece = 64 * 1024

  private let writer: BlockWriter
  private(set) var extents: [Extent] = []
  /// The length so far, holes included.
  private(set) var position: UInt64 = 0
  private(set) var blocks: UInt64 = 0

  init(_ writer: BlockWriter) { self.writer = writer }

  /// Moves to an offset at or behind the position; what lies between reads as zeros.
  mutating func skip(to offset: UInt64) throws(ImageError) {
    let block = UInt64(Ext4.blockSize)
    let within = position % block
    if within > 0 {
      let pad = min(block - within, offset - position)
      try writer.appendZeros(Int(pad))
      position += pad
    }
    guard position < offset else { return }
    // Here the position is at a block's front.
    position = offset / block * block
    let rest = offset - position
    if rest > 0 {
      map(blocks: 1)
      try writer.appendZeros(Int(rest))
      position = offset
    }
  }

  /// Writes `count` bytes that `read` delivers piece by piece; `read` returns 0 only at the end of its data.
  ///
  /// - Returns: the bytes read, fewer than `count` where the data ended.
  mutating func append(
    _ count: UInt64, _ read: (UnsafeMutableRawBufferPointer) throws(ImageError) -> Int
  ) throws(ImageError) -> UInt64 {
    var rest = count
    while rest > 0 {
      let toBoundary = Self.piece - Int(position % UInt64(Self.piece))
      let target = try writer.room(Int(min(rest, UInt64(toBoundary))))
      var got = 0
      while got < target.count {
        let count = try read(UnsafeMutableRawBufferPointer(rebasing: target[got...]))
        if count == 0 { break }
        got += count
      }
      if got == 0 { break }
      if got == Self.piece, allZero(UnsafeRawBufferPointer(target)) {
        position += UInt64(got)
      } else {
        let before = Ext4.blocks(position)
        map(blocks: UInt32(truncatingIfNeeded: Ext4.blocks(position + UInt64(got)) - before))
        writer.commit(got)
        position += UInt64(got)
      }
      rest -= UInt64(got)
      if got < target.count { break }
    }
    return count - rest
  }

  /// Ends the file at a length at or behind the position.
  mutating func finish(size: UInt64) throws(ImageError) {
    try writer.pad()
    position = max(position, size)
  }

  /// Maps the next blocks of the file to the next ones of the disk.
  private mutating func map(blocks count: UInt32) {
    if count == 0 { return }
    let logical = UInt32(truncatingIfNeeded: Ext4.blocks(position))
    // Within a block under way the writer's next block is still that one, and its successors are what is mapped.
    let begun: UInt64 = position % UInt64(Ext4.blockSize) == 0 ? 0 : 1
    let physical = UInt32(truncatingIfNeeded: writer.nextBlock + begun)
    blocks += UInt64(count)
    if let last = extents.last, last.logical + last.count == logical, last.physical + last.count == physical,
      last.count + count <= Ext4.extentBlocks
    {
      extents[extents.count - 1].count += count
    } else {
      extents.append(Extent(logical: logical, physical: physical, count: count))
    }
  }
}
