/// Where the metadata of a finished disk lies: behind the data, in one piece. The inode tables of all groups come first,
/// then the block bitmaps, then the inode bitmaps; ext4's flex_bg lets a group's metadata lie anywhere.
struct DiskLayout {
  private(set) var groups: UInt64
  private(set) var inodesPerGroup: UInt64
  private(set) var totalBlocks: UInt64
  let inodeTables: UInt64
  /// One behind the last block in use.
  private(set) var usedEnd: UInt64
  /// Directories of each group.
  private(set) var directories: [UInt32]

  private static let inodesPerBlock = UInt64(Ext4.blockSize / Ext4.inodeSize)

  /// - Parameters:
  ///   - dataEnd: one behind the last block of data and directories.
  ///   - inodes: the highest inode's number.
  ///   - minimumBytes: the least size, with an inode for each 16 KiB of it.
  init(dataEnd: UInt64, inodes: UInt64, minimumBytes: UInt64) throws(ImageError) {
    let minimumBlocks = Ext4.blocks(minimumBytes)
    let wantedInodes = max(inodes, minimumBlocks / 4, Self.inodesPerBlock)
    inodeTables = dataEnd
    groups = max(1, Self.divided(max(dataEnd, minimumBlocks), Ext4.blocksPerGroup))
    while true {
      inodesPerGroup = Self.divided(Self.divided(wantedInodes, groups), Self.inodesPerBlock) * Self.inodesPerBlock
      let tableBlocks = inodesPerGroup / Self.inodesPerBlock
      usedEnd = dataEnd + groups * (tableBlocks + 2)
      totalBlocks = max(usedEnd, minimumBlocks)
      // libext2fs drops a last group that is too small for metadata of its own and 50 blocks.
      let least = tableBlocks + 2 + 50
      let rest = totalBlocks % Ext4.blocksPerGroup
      if rest > 0, rest < least { totalBlocks += least - rest }
      let needed = Self.divided(totalBlocks, Ext4.blocksPerGroup)
      if inodesPerGroup <= Ext4.blocksPerGroup, needed <= groups {
        totalBlocks = max(totalBlocks, (groups - 1) * Ext4.blocksPerGroup + least)
        break
      }
      groups = max(groups + 1, needed)
    }
    guard totalBlocks <= Ext4.maximumBlocks else {
      throw ImageError(.limitExceeded, "the disk would be larger than \(Ext4.maximumBlocks / 262144) GiB")
    }
    directories = Array(repeating: 0, count: Int(groups))
  }

  var inodeTableBlocks: UInt64 { inodesPerGroup / Self.inodesPerBlock }
  func inodeTable(_ group: UInt64) -> UInt64 { inodeTables + group * inodeTableBlocks }
  func blockBitmap(_ group: UInt64) -> UInt64 { inodeTables + groups * inodeTableBlocks + group }
  func inodeBitmap(_ group: UInt64) -> UInt64 { blockBitmap(group) + groups }

  mutating func countDirectory(_ inode: UInt32) { directories[Int(UInt64(inode - 1) / inodesPerGroup)] += 1 }

  private static func divided(_ a: UInt64, _ b: UInt64) -> UInt64 { a / b + (a % b == 0 ? 0 : 1) }
}
