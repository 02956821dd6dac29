internal import CExt2fs

/// Looks into a base disk, without mounting it.
public enum BaseDiskProbe {
  /// The first of these absolute paths at which the disk has an executable file, symbolic links followed within the disk.
  ///
  /// Blocking: a few blocks are read.
  public static func firstProgram(of paths: [String], on disk: String) throws(ImageError) -> String? {
    initialize_ext2_error_table()
    var opened: ext2_filsys?
    let failure = ext2fs_open(disk, EXT2_FLAG_64BITS, 0, 0, ignite_unix_io_manager(), &opened)
    guard failure == 0, let fileSystem = opened else { throw .library("look into \(disk)", failure) }
    defer { ext2fs_free(fileSystem) }
    let root = ext2_ino_t(EXT2_ROOT_INO)
    for path in paths {
      var number: ext2_ino_t = 0
      var inode = ext2_inode()
      guard ext2fs_namei_follow(fileSystem, root, root, path, &number) == 0,
        ext2fs_read_inode(fileSystem, number, &inode) == 0
      else { continue }
      if inode.i_mode & 0o170000 == 0o100000, inode.i_mode & 0o111 != 0 { return path }
    }
    return nil
  }
}
