internal import CExt2fs
internal import Glibc

/// Blank ext4 disks with a journal, which virtual machines write to.
public enum WritableDisk {
  /// The least size in bytes that a file system with a journal has room in.
  public static let minimumBytes: UInt64 = 16 << 20

  /// Makes a blank disk in a sparse file; blocking, without waiting for stable storage.
  ///
  /// The file system is what `mke2fs -t ext4` makes, with an inode for each 8 KiB, nothing reserved for root, and with
  /// inode tables and journal left as holes that need no initialising by the guest.
  ///
  /// - Parameters:
  ///   - path: the file to make; removed again on failure.
  ///   - size: bytes; rounded down to whole blocks of 4 KiB.
  ///   - label: at most 16 bytes.
  ///   - uuid: a random one by default.
  ///   - lostAndFound: whether its root has e2fsck's directory, which makes it where it needs it.
  /// - Throws: `unsupported` for a size that is too small or too large, `alreadyExists`, `noSpace` or `io`.
  public static func create(
    path: String, size: UInt64, label: String = "ignite-overlay", uuid: DiskUUID = DiskUUID(),
    lostAndFound: Bool = true
  ) throws(ImageError) {
    guard size >= minimumBytes else {
      throw ImageError(
        .unsupported, "a disk of \(size) bytes is too small for a file system",
        advice: "make it \(minimumBytes >> 20) MiB or larger")
    }
    guard size <= 64 << 40 else {
      throw ImageError(.unsupported, "a disk of \(size) bytes is too large", advice: "make it 64 TiB or smaller")
    }
    let number = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    if number < 0 { throw .system("create", path) }
    let descriptor = OwnedDescriptor(number)
    do throws(ImageError) {
      let blocks = size / UInt64(Ext4.blockSize)
      if ftruncate(descriptor.number, off_t(blocks) * off_t(Ext4.blockSize)) != 0 { throw .system("extend", path) }
      try format(path, blocks: blocks, label: label, uuid: uuid, lostAndFound: lostAndFound)
    } catch {
      unlink(path)
      throw error
    }
  }

  private static func format(
    _ path: String, blocks: UInt64, label: String, uuid: DiskUUID, lostAndFound: Bool
  ) throws(ImageError) {
    initialize_ext2_error_table()
    var parameters = parameters(blocks: blocks)
    var made: ext2_filsys?
    let failure = ext2fs_initialize(path, EXT2_FLAG_64BITS, &parameters, ignite_unix_io_manager(), &made)
    guard failure == 0, let fileSystem = made else { throw .library("lay out the disk", failure) }
    do throws(ImageError) {
      describe(fileSystem, label: label, uuid: uuid)
      try populate(fileSystem, lostAndFound: lostAndFound)
    } catch {
      ext2fs_free(fileSystem)
      throw error
    }
    let closed = ignite_ext2fs_close(fileSystem)
    if closed != 0 { throw .library("write the disk's metadata", closed) }
  }

  private static func parameters(blocks: UInt64) -> ext2_super_block {
    var parameters = ext2_super_block()
    parameters.s_log_block_size = 2
    parameters.s_rev_level = UInt32(EXT2_DYNAMIC_REV)
    parameters.s_inode_size = UInt16(Ext4.inodeSize)
    parameters.s_min_extra_isize = 32
    parameters.s_want_extra_isize = 32
    parameters.s_inodes_count = UInt32(clamping: blocks / 2)
    parameters.s_log_groups_per_flex = 4
    parameters.s_feature_compat = UInt32(EXT2_FEATURE_COMPAT_EXT_ATTR) | UInt32(EXT2_FEATURE_COMPAT_DIR_INDEX)
    parameters.s_feature_incompat =
      UInt32(EXT2_FEATURE_INCOMPAT_FILETYPE) | UInt32(EXT3_FEATURE_INCOMPAT_EXTENTS)
      | UInt32(EXT4_FEATURE_INCOMPAT_FLEX_BG) | UInt32(EXT4_FEATURE_INCOMPAT_64BIT)
    parameters.s_feature_ro_compat =
      UInt32(EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER) | UInt32(EXT2_FEATURE_RO_COMPAT_LARGE_FILE)
      | UInt32(EXT4_FEATURE_RO_COMPAT_HUGE_FILE) | UInt32(EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)
      | UInt32(EXT4_FEATURE_RO_COMPAT_DIR_NLINK) | UInt32(EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE)
    ext2fs_blocks_count_set(&parameters, blocks)
    return parameters
  }

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
    superblock.pointee.s_checksum_type = UInt8(EXT2_CRC32C_CHKSUM)
    ext2fs_init_csum_seed(fileSystem)
  }

  private static func populate(_ fileSystem: ext2_filsys, lostAndFound: Bool) throws(ImageError) {
    func check(_ what: String, _ code: errcode_t) throws(ImageError) {
      if code != 0 { throw .library(what, code) }
    }
    try check("place the disk's tables", ext2fs_allocate_tables(fileSystem))
    for group in 0..<fileSystem.pointee.group_desc_count {
      // The file is new, so what is not written is zero.
      ext2fs_bg_flags_set(fileSystem, group, UInt16(EXT2_BG_INODE_ZEROED))
    }
    let root = ext2_ino_t(EXT2_ROOT_INO)
    try check("make the disk's root directory", ext2fs_mkdir(fileSystem, root, root, nil))
    for inode in 1..<UInt32(Ext4.firstInode) where inode != root {
      ext2fs_inode_alloc_stats2(fileSystem, inode, 1, 0)
    }
    if lostAndFound { try check("make lost+found", ext2fs_mkdir(fileSystem, root, 0, "lost+found")) }
    var journal = ext2fs_journal_params()
    try check("choose the journal's size", ext2fs_get_journal_params(&journal, fileSystem))
    journal.num_journal_blocks = min(journal.num_journal_blocks, 16384)
    journal.num_fc_blocks = 0
    try check(
      "make the journal",
      ext2fs_add_journal_inode3(
        fileSystem, &journal, UInt64.max, Int32(EXT2_MKJOURNAL_LAZYINIT) | Int32(EXT2_MKJOURNAL_NO_MNT_CHECK)))
    // Of all groups, whose flags were set above.
    try check("sum up the disk's groups", ext2fs_set_gdt_csum(fileSystem))
  }
}
