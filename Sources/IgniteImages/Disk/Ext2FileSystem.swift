internal import CExt2fs

/// The superblock, the group descriptors and the bitmaps of a finished disk, made and written by libext2fs.
final class Ext2FileSystem {
  private var fileSystem: ext2_filsys?

  /// - Parameter channel: to the file; it belongs to the file system from here on.
  init(
    path: String, channel: Ext2Channel, layout: DiskLayout, label: String, uuid: DiskUUID, tree: DiskTree,
    freed: [Extent]
  ) throws(ImageError) {
    initialize_ext2_error_table()
    var parameters = ext2_super_block()
    parameters.s_log_block_size = 2
    parameters.s_rev_level = UInt32(EXT2_DYNAMIC_REV)
    parameters.s_inode_size = UInt16(Ext4.inodeSize)
    parameters.s_min_extra_isize = 32
    parameters.s_want_extra_isize = 32
    parameters.s_inodes_count = UInt32(truncatingIfNeeded: layout.groups * layout.inodesPerGroup)
    parameters.s_log_groups_per_flex = 4
    // sparse_super2 without any backup: the data stays in one piece, and a disk that nobody writes needs none.
    parameters.s_feature_compat =
      UInt32(EXT2_FEATURE_COMPAT_EXT_ATTR) | UInt32(EXT2_FEATURE_COMPAT_DIR_INDEX)
      | UInt32(EXT4_FEATURE_COMPAT_SPARSE_SUPER2)
    parameters.s_feature_incompat =
      UInt32(EXT2_FEATURE_INCOMPAT_FILETYPE) | UInt32(EXT3_FEATURE_INCOMPAT_EXTENTS)
      | UInt32(EXT4_FEATURE_INCOMPAT_FLEX_BG)
    parameters.s_feature_ro_compat =
      UInt32(EXT2_FEATURE_RO_COMPAT_LARGE_FILE) | UInt32(EXT4_FEATURE_RO_COMPAT_HUGE_FILE)
      | UInt32(EXT4_FEATURE_RO_COMPAT_GDT_CSUM) | UInt32(EXT4_FEATURE_RO_COMPAT_DIR_NLINK)
      | UInt32(EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE)
    ext2fs_blocks_count_set(&parameters, layout.totalBlocks)

    var made: ext2_filsys?
    let failure = channel.hand { open, taken in ignite_initialize(path, &parameters, open, &made, taken) }
    guard failure == 0, let made else { throw .library("lay out the disk", failure) }
    fileSystem = made
    let blocks = ext2fs_blocks_count(made.pointee.super)
    guard blocks == layout.totalBlocks, UInt64(made.pointee.group_desc_count) == layout.groups,
      UInt64(made.pointee.super.pointee.s_inodes_per_group) == layout.inodesPerGroup
    else {
      throw ImageError(.io, "cannot lay out the disk: libext2fs chose \(blocks) blocks, not \(layout.totalBlocks)")
    }
    Self.describe(made, label: label, uuid: uuid)
    Self.place(made, layout)
    Self.mark(made, layout, tree, freed)
  }

  deinit { if let fileSystem { ext2fs_free(fileSystem) } }

  /// Names, and times that are always the same.
  private static func describe(_ fileSystem: ext2_filsys, label: String, uuid: DiskUUID) {
    guard let superblock = fileSystem.pointee.super else { return }
    fillTuple(&superblock.pointee.s_uuid, uuid.bytes)
    fillTuple(&superblock.pointee.s_volume_name, Array(label.utf8.prefix(16)))
    withUnsafeMutableBytes(of: &superblock.pointee.s_hash_seed) { target in
      for (index, word) in uuid.hashSeed.enumerated() { target.put(word, at: index * 4) }
    }
    superblock.pointee.s_def_hash_version = DirectoryEncoder.hashVersion
    superblock.pointee.s_flags = UInt32(EXT2_FLAGS_UNSIGNED_HASH)
    superblock.pointee.s_max_mnt_count = -1
    superblock.pointee.s_checkinterval = 0
    superblock.pointee.s_default_mount_opts = UInt32(EXT2_DEFM_XATTR_USER) | UInt32(EXT2_DEFM_ACL)
    superblock.pointee.s_mkfs_time = 1
    superblock.pointee.s_lastcheck = 1
    superblock.pointee.s_mkfs_time_hi = 0
    superblock.pointee.s_lastcheck_hi = 0
    superblock.pointee.s_kbytes_written = 0
    fileSystem.pointee.now = 1
  }

  private static func place(_ fileSystem: ext2_filsys, _ layout: DiskLayout) {
    for group in 0..<layout.groups {
      let number = dgrp_t(group)
      ext2fs_inode_table_loc_set(fileSystem, number, layout.inodeTable(group))
      ext2fs_block_bitmap_loc_set(fileSystem, number, layout.blockBitmap(group))
      ext2fs_inode_bitmap_loc_set(fileSystem, number, layout.inodeBitmap(group))
      ext2fs_bg_used_dirs_count_set(fileSystem, number, layout.directories[Int(group)])
      // What the tables do not hold is a hole in the file, so it is zero.
      ext2fs_bg_flags_zap(fileSystem, number)
      ext2fs_bg_flags_set(fileSystem, number, UInt16(EXT2_BG_INODE_ZEROED))
    }
  }

  private static func mark(_ fileSystem: ext2_filsys, _ layout: DiskLayout, _ tree: DiskTree, _ freed: [Extent]) {
    let blockMap = fileSystem.pointee.block_map
    let inodeMap = fileSystem.pointee.inode_map
    let start = Ext4.firstDataBlock
    var rest = layout.usedEnd - start
    while rest > 0 {
      let count = min(rest, 1 << 30)
      ext2fs_mark_block_bitmap_range2(blockMap, layout.usedEnd - rest, UInt32(count))
      rest -= count
    }
    for extent in freed { ext2fs_unmark_block_bitmap_range2(blockMap, UInt64(extent.physical), extent.count) }
    for inode in 1..<UInt32(tree.nodes.count) { ext2fs_mark_generic_bmap(inodeMap, UInt64(inode)) }
    for inode in tree.unusedNodes { ext2fs_unmark_generic_bmap(inodeMap, UInt64(inode)) }
    ext2fs_calculate_summary_stats(fileSystem, 0)
    ext2fs_set_gdt_csum(fileSystem)
    ext2fs_mark_bb_dirty(fileSystem)
    ext2fs_mark_ib_dirty(fileSystem)
    ext2fs_mark_super_dirty(fileSystem)
  }

  /// Writes all of it, without waiting for stable storage.
  func close() throws(ImageError) {
    guard let open = fileSystem else { return }
    fileSystem = nil
    let failure = ignite_ext2fs_close(open)
    if failure != 0 { throw .library("write the disk's metadata", failure) }
  }
}
