/// Writes the archive format of the kernel's initial ramdisk: `newc` cpio (Documentation/driver-api/early-userspace/
/// buffer-format.rst). The same entries give the same bytes: times are zero and inode numbers count up.
struct CPIOArchive {
  private static let trailer = "TRAILER!!!"
  private enum Kind {
    static let directory: UInt32 = 0o040000
    static let file: UInt32 = 0o100000
    static let characterDevice: UInt32 = 0o020000
  }

  private(set) var bytes: [UInt8] = []
  private var inode: UInt32

  /// - Parameter firstInode: the first entry's number; parts that are joined to one archive need ranges of their own.
  init(firstInode: UInt32) { inode = firstInode }

  mutating func addDirectory(_ path: String, mode: UInt32) {
    add(path, mode: Kind.directory | mode, content: [])
  }

  /// - Parameter content: less than 4 GiB.
  mutating func addFile(_ path: String, mode: UInt32, content: [UInt8]) {
    add(path, mode: Kind.file | mode, content: content)
  }

  mutating func addCharacterDevice(_ path: String, mode: UInt32, major: UInt32, minor: UInt32) {
    add(path, mode: Kind.characterDevice | mode, device: (major, minor), content: [])
  }

  /// Ends the archive.
  mutating func finish() {
    inode = 0
    add(Self.trailer, mode: 0, content: [])
    while bytes.count % 512 != 0 { bytes.append(0) }
  }

  private mutating func add(
    _ path: String, mode: UInt32, device: (major: UInt32, minor: UInt32) = (0, 0), content: [UInt8]
  ) {
    let name = Array(path.utf8) + [0]
    let links: UInt32 = mode & Kind.directory != 0 ? 2 : 1
    let fields: [UInt32] = [
      inode, mode, 0, 0, links, 0, UInt32(content.count), 0, 0, device.major, device.minor, UInt32(name.count), 0,
    ]
    bytes += "070701".utf8
    for field in fields { appendHex(field) }
    bytes += name
    pad()
    bytes += content
    pad()
    inode += 1
  }

  private mutating func appendHex(_ value: UInt32) {
    for shift in stride(from: UInt32(28), through: 0, by: -4) {
      let digit = UInt8(value >> shift & 15)
      bytes.append(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
    }
  }

  private mutating func pad() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }
}
