import Foundation
import Glibc
import IgniteImages
import Testing

/// What GNU tar has unpacked, read through the host's own calls.
struct HostTree {
  let root: String

  func paths() throws -> [String] {
    try run("find", root, "-mindepth", "1", "-printf", "%P\\n").split(separator: "\n").map(String.init)
  }

  func record(_ path: String) throws -> FileRecord {
    let full = path.isEmpty ? root : root + "/" + path
    var status = stat()
    guard lstat(full, &status) == 0 else { throw ToolFailure(description: "lstat \(full)") }
    let type = UInt16(status.st_mode & S_IFMT)
    let device = UInt64(status.st_rdev)
    let major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfff)
    let minor = (device & 0xff) | (device >> 12 & ~0xff)
    return FileRecord(
      type: type, mode: UInt16(status.st_mode & 0o7777), uid: status.st_uid, gid: status.st_gid,
      modified: FileTime(seconds: Int64(status.st_mtim.tv_sec), nanoseconds: UInt32(status.st_mtim.tv_nsec)),
      size: type == 0o040000 ? 0 : UInt64(status.st_size),
      target: type == 0o120000 ? try target(full) : "",
      device: type == 0o020000 || type == 0o060000 ? "\(major):\(minor)" : "",
      links: type == 0o040000 ? 0 : UInt32(status.st_nlink), attributes: try attributes(full))
  }

  func inode(_ path: String) throws -> UInt64 {
    var status = stat()
    guard lstat(root + "/" + path, &status) == 0 else { throw ToolFailure(description: "lstat \(path)") }
    return UInt64(status.st_ino)
  }

  /// FileManager cuts long targets.
  private func target(_ path: String) throws -> String {
    var buffer = [CChar](repeating: 0, count: 4097)
    let count = readlink(path, &buffer, 4096)
    guard count > 0 else { throw ToolFailure(description: "readlink \(path)") }
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// glibc has these calls in a header that Swift does not see.
  private func attributes(_ path: String) throws -> [String: [UInt8]] {
    typealias List = @convention(c) (UnsafePointer<CChar>, UnsafeMutablePointer<CChar>?, Int) -> Int
    typealias Get = @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
    let list = unsafeBitCast(try #require(dlsym(nil, "llistxattr")), to: List.self)
    let get = unsafeBitCast(try #require(dlsym(nil, "lgetxattr")), to: Get.self)
    var names = [CChar](repeating: 0, count: 1 << 16)
    let length = list(path, &names, names.count)
    var result: [String: [UInt8]] = [:]
    if length <= 0 { return result }
    for name in names[..<length].split(separator: 0) {
      let text = String(decoding: name.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      var value = [UInt8](repeating: 0, count: 1 << 16)
      let count = get(path, text, &value, value.count)
      if count >= 0 { result[text] = Array(value[..<count]) }
    }
    return result
  }

  /// Compares each entry with the disk's: kind, mode, owners, time, size, target, device, links and which names share an
  /// inode, extended attributes, and content byte for byte.
  ///
  /// - Parameters:
  ///   - untimed: directories that GNU tar has touched after it had set their time.
  ///   - asRoot: whether owners and the attributes of the system were unpacked too.
  ///   - missing: directories that were not unpacked by an ordinary user.
  func expectEqual(
    _ disk: DiskImage, untimed: Set<String> = [], asRoot: Bool = true, missing: [String] = []
  ) throws {
    let paths = try paths()
    let inodes = try disk.inodes()
    let records = try disk.records()
    let wanted = inodes.keys.filter { path in
      asRoot || !missing.contains { path == $0 || path.hasPrefix($0 + "/") }
    }
    #expect(Set(wanted) == Set(paths + [""]))
    var groups: [UInt64: UInt32] = [:]
    for path in paths {
      guard var mine = records[path] else { continue }
      var theirs = try record(path)
      if !asRoot {
        (mine.uid, mine.gid, theirs.uid, theirs.gid) = (0, 0, 0, 0)
        mine.attributes = mine.attributes.filter { $0.key.hasPrefix("user.") }
      }
      if untimed.contains(path) { (mine.modified, theirs.modified) = (FileTime(), FileTime()) }
      #expect(mine == theirs, "\(path)")
      let number = try #require(inodes[path])
      let group = try inode(path)
      if let known = groups[group] { #expect(known == number, "\(path) shares its inode") }
      groups[group] = number
      if theirs.type == 0o100000 { try expectContent(disk, number, path) }
    }
    #expect(Set(groups.values).count == groups.count, "no two inodes of the host are one on the disk")
  }

  private func expectContent(_ disk: DiskImage, _ inode: UInt32, _ path: String) throws {
    let file = try FileByteSource(path: root + "/" + path)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    var equal = true
    try disk.read(inode) { piece in
      let count = try file.readFully(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<piece.count]))
      if count != piece.count || !piece.elementsEqual(buffer[..<count]) { equal = false }
    }
    #expect(equal && file.remaining == 0, "the content of \(path)")
  }
}
