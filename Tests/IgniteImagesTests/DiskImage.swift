import CExt2fs
import IgniteImages

/// Reads a disk through libext2fs, which had no part in writing its files.
final class DiskImage {
  let path: String
  private let fileSystem: ext2_filsys

  init(_ path: String) throws {
    self.path = path
    initialize_ext2_error_table()
    var opened: ext2_filsys?
    let failure = ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, ignite_unix_io_manager(), &opened)
    guard failure == 0, let opened else { throw ToolFailure(description: "ext2fs_open: \(failure)") }
    fileSystem = opened
  }

  deinit { ext2fs_free(fileSystem) }

  var label: String {
    withUnsafeBytes(of: fileSystem.pointee.super.pointee.s_volume_name) {
      String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  /// Every name below the root, the root itself as an empty one, with its inode.
  func inodes() throws -> [String: UInt32] {
    var found: [String: UInt32] = ["": 2]
    var pending: [(String, UInt32)] = [("", 2)]
    while let (path, inode) = pending.popLast() {
      for (name, child, type) in try list(inode) {
        let full = path.isEmpty ? name : path + "/" + name
        found[full] = child
        if type == 2 { pending.append((full, child)) }
      }
    }
    return found
  }

  func paths() throws -> Set<String> { Set(try inodes().keys) }

  func inode(_ path: String) throws -> UInt32 {
    guard let inode = try inodes()[path] else { throw ToolFailure(description: "\(path) is not on the disk") }
    return inode
  }

  func records() throws -> [String: FileRecord] {
    try inodes().mapValues { try record($0) }
  }

  func record(_ path: String) throws -> FileRecord { try record(try inode(path)) }

  func content(_ path: String) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try read(try inode(path)) { bytes += $0 }
    return bytes
  }

  /// A part of a file, shorter where the file ends before.
  func content(_ path: String, at offset: UInt64, count: Int) throws -> [UInt8] {
    var file: ext2_file_t?
    guard ext2fs_file_open(fileSystem, try inode(path), 0, &file) == 0 else {
      throw ToolFailure(description: "file_open")
    }
    defer { ext2fs_file_close(file) }
    guard ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, nil) == 0 else { throw ToolFailure(description: "llseek") }
    var bytes = [UInt8](repeating: 0, count: count)
    var got: UInt32 = 0
    guard ext2fs_file_read(file, &bytes, UInt32(count), &got) == 0 else { throw ToolFailure(description: "file_read") }
    return Array(bytes[..<Int(got)])
  }

  func text(_ path: String) throws -> String { String(decoding: try content(path), as: UTF8.self) }

  // MARK: -

  private func list(_ directory: UInt32) throws -> [(String, UInt32, UInt8)] {
    final class Box { var entries: [(String, UInt32, UInt8)] = [] }
    let box = Box()
    let failure = ext2fs_dir_iterate(
      fileSystem, directory, 0, nil,
      { entry, _, _, _, context in
        guard let entry, let context else { return 0 }
        let box = Unmanaged<Box>.fromOpaque(context).takeUnretainedValue()
        let length = Int(ext2fs_dirent_name_len(entry))
        let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(entry) + 8, count: length)
        let name = String(decoding: bytes, as: UTF8.self)
        if name != ".", name != ".." {
          box.entries.append((name, entry.pointee.inode, UInt8(ext2fs_dirent_file_type(entry))))
        }
        return 0
      }, Unmanaged.passUnretained(box).toOpaque())
    guard failure == 0 else { throw ToolFailure(description: "ext2fs_dir_iterate: \(failure)") }
    return box.entries
  }

  private func record(_ number: UInt32) throws -> FileRecord {
    var inode = ext2_inode_large()
    let failure = withUnsafeMutableBytes(of: &inode) {
      ext2fs_read_inode_full(fileSystem, number, $0.bindMemory(to: ext2_inode.self).baseAddress, Int32($0.count))
    }
    guard failure == 0 else { throw ToolFailure(description: "ext2fs_read_inode: \(failure)") }
    let type = inode.i_mode & 0o170000
    let low = Int64(Int32(bitPattern: inode.i_mtime))
    let modified = FileTime(
      seconds: low + Int64(inode.i_mtime_extra & 3) << 32, nanoseconds: inode.i_mtime_extra >> 2)
    let words = withUnsafeBytes(of: inode.i_block) { Array($0.bindMemory(to: UInt32.self)) }
    var device = ""
    if type == 0o020000 || type == 0o060000 {
      device =
        words[0] != 0
        ? "\(words[0] >> 8 & 0xff):\(words[0] & 0xff)"
        : "\((words[1] & 0xfff00) >> 8):\((words[1] & 0xff) | (words[1] >> 12 & 0xfff00))"
    }
    let size = UInt64(inode.i_size) | UInt64(inode.i_size_high) << 32
    var target = ""
    if type == 0o120000 {
      if size < 60 {
        target = withUnsafeBytes(of: inode.i_block) { String(decoding: $0.prefix(Int(size)), as: UTF8.self) }
      } else {
        var bytes: [UInt8] = []
        try read(number) { bytes += $0 }
        target = String(decoding: bytes, as: UTF8.self)
      }
    }
    return FileRecord(
      type: type, mode: inode.i_mode & 0o7777, uid: UInt32(inode.i_uid) | UInt32(inode.osd2.linux2.l_i_uid_high) << 16,
      gid: UInt32(inode.i_gid) | UInt32(inode.osd2.linux2.l_i_gid_high) << 16, modified: modified,
      size: type == 0o040000 ? 0 : size, target: target, device: device,
      links: type == 0o040000 ? 0 : UInt32(inode.i_links_count), attributes: try attributes(number))
  }

  private func attributes(_ number: UInt32) throws -> [String: [UInt8]] {
    var handle: OpaquePointer?
    guard ext2fs_xattrs_open(fileSystem, number, &handle) == 0 else { throw ToolFailure(description: "xattrs_open") }
    defer { ext2fs_xattrs_close(&handle) }
    guard ext2fs_xattrs_read(handle) == 0 else { throw ToolFailure(description: "xattrs_read") }
    final class Box { var names: [String] = [] }
    let box = Box()
    ext2fs_xattrs_iterate(
      handle,
      { name, _, _, context in
        guard let name, let context else { return 0 }
        Unmanaged<Box>.fromOpaque(context).takeUnretainedValue().names.append(String(cString: name))
        return 0
      }, Unmanaged.passUnretained(box).toOpaque())
    var result: [String: [UInt8]] = [:]
    for name in box.names {
      var value: UnsafeMutableRawPointer?
      var count = 0
      guard ext2fs_xattr_get(handle, name, &value, &count) == 0 else { throw ToolFailure(description: "xattr_get") }
      var bytes = Array(UnsafeRawBufferPointer(start: value, count: count))
      if name.hasPrefix("system.posix_acl_") {
        // libext2fs gives 0 where the kernel gives -1: as the ID of entries that have none.
        for start in stride(from: 4, to: bytes.count, by: 8) where bytes[start] != 2 && bytes[start] != 8 {
          bytes.replaceSubrange(start + 4..<start + 8, with: [255, 255, 255, 255])
        }
      }
      result[name] = bytes
      var pointer = value
      ext2fs_free_mem(&pointer)
    }
    return result
  }

  /// Hands a file's content on in pieces.
  func read(_ number: UInt32, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    var file: ext2_file_t?
    guard ext2fs_file_open(fileSystem, number, 0, &file) == 0 else { throw ToolFailure(description: "file_open") }
    defer { ext2fs_file_close(file) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      var count: UInt32 = 0
      let failure = ext2fs_file_read(file, buffer.baseAddress, UInt32(buffer.count), &count)
      guard failure == 0 else { throw ToolFailure(description: "ext2fs_file_read: \(failure)") }
      if count == 0 { return }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)]))
    }
  }
}
