import IgniteImages

/// Writes archives for tests: well-formed ones in ustar with pax records where needed, and any malformed one by hand.
struct TestArchive {
  enum Kind: UInt8 {
    case file = 0x30
    case hardLink, symbolicLink, characterDevice, blockDevice, directory, fifo
  }

  struct Member {
    var path: [UInt8]
    var kind: Kind
    var mode: UInt16 = 0o644
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    var modified = FileTime(seconds: 1_600_000_000)
    var data: [UInt8] = []
    var target: [UInt8] = []
    var device: (major: UInt32, minor: UInt32) = (0, 0)
    var attributes: [(name: String, value: [UInt8])] = []

    init(_ kind: Kind, _ path: String) {
      self.kind = kind
      self.path = Array(path.utf8)
      if kind == .directory { mode = 0o755 }
      if kind == .symbolicLink { mode = 0o777 }
    }
  }

  private(set) var bytes: [UInt8] = []

  mutating func add(_ member: Member) {
    var records: [(String, [UInt8])] = []
    let name = member.path.count <= 100 ? member.path : Array(member.path.prefix(100))
    let link = member.target.count <= 100 ? member.target : Array(member.target.prefix(100))
    if member.path.count > 100 { records.append(("path", member.path)) }
    if member.target.count > 100 { records.append(("linkpath", member.target)) }
    if member.uid > 0o7777777 { records.append(("uid", Array("\(member.uid)".utf8))) }
    if member.gid > 0o7777777 { records.append(("gid", Array("\(member.gid)".utf8))) }
    if member.modified.nanoseconds != 0 || member.modified.seconds < 0 {
      records.append(("mtime", Array(Self.decimal(member.modified).utf8)))
    }
    for attribute in member.attributes { records.append(("SCHILY.xattr.\(attribute.name)", attribute.value)) }
    if !records.isEmpty { addRecords(records) }
    var header = Header(name: name, type: member.kind.rawValue)
    header.mode = UInt64(member.mode)
    header.uid = UInt64(min(member.uid, 0o7777777))
    header.gid = UInt64(min(member.gid, 0o7777777))
    header.size = UInt64(member.data.count)
    header.modified = UInt64(max(0, member.modified.seconds))
    header.link = link
    header.major = UInt64(member.device.major)
    header.minor = UInt64(member.device.minor)
    bytes += header.encoded
    addData(member.data)
  }

  mutating func file(_ path: String, _ text: String = "", mode: UInt16 = 0o644) {
    var member = Member(.file, path)
    member.data = Array(text.utf8)
    member.mode = mode
    add(member)
  }

  mutating func directory(_ path: String, mode: UInt16 = 0o755) {
    var member = Member(.directory, path)
    member.mode = mode
    add(member)
  }

  mutating func link(_ path: String, to target: String, hard: Bool = false) {
    var member = Member(hard ? .hardLink : .symbolicLink, path)
    member.target = Array(target.utf8)
    add(member)
  }

  mutating func addRecords(_ records: [(String, [UInt8])], type: UInt8 = UInt8(ascii: "x")) {
    var data: [UInt8] = []
    for (key, value) in records {
      let body = [0x20] + Array(key.utf8) + [0x3d] + value + [0x0a]
      var length = body.count + 1
      while "\(length)".utf8.count + body.count != length { length = "\(length)".utf8.count + body.count }
      data += Array("\(length)".utf8) + body
    }
    var header = Header(name: Array("PaxHeaders/x".utf8), type: type)
    header.size = UInt64(data.count)
    bytes += header.encoded
    addData(data)
  }

  mutating func addData(_ data: [UInt8]) {
    bytes += data
    bytes += [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
  }

  mutating func addRaw(_ raw: [UInt8]) { bytes += raw }

  /// The archive with its two blocks of zeros.
  var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

  static func make(_ body: (inout TestArchive) -> Void) -> [UInt8] {
    var archive = TestArchive()
    body(&archive)
    return archive.finished
  }

  private static func decimal(_ time: FileTime) -> String {
    guard time.seconds < 0, time.nanoseconds > 0 else { return "\(time.seconds)." + padded(time.nanoseconds) }
    return "-\(-(time.seconds + 1))." + padded(1_000_000_000 - time.nanoseconds)
  }

  private static func padded(_ number: UInt32) -> String {
    let digits = "\(number)"
    return String(repeating: "0", count: 9 - digits.count) + digits
  }

  /// A header block, field by field.
  struct Header {
    var name: [UInt8]
    var type: UInt8
    var mode: UInt64 = 0o644
    var uid: UInt64 = 0
    var gid: UInt64 = 0
    var size: UInt64 = 0
    var modified: UInt64 = 0
    var link: [UInt8] = []
    var magic: [UInt8] = Array("ustar\u{0}00".utf8)
    var major: UInt64 = 0
    var minor: UInt64 = 0
    /// Bytes put over the block before the checksum is made.
    var overlay: [(offset: Int, bytes: [UInt8])] = []

    init(name: [UInt8], type: UInt8) {
      self.name = name
      self.type = type
    }

    init(_ name: String, type: Character) {
      self.init(name: Array(name.utf8), type: type.asciiValue ?? 0)
    }

    var encoded: [UInt8] {
      var block = [UInt8](repeating: 0, count: 512)
      func put(_ bytes: [UInt8], _ offset: Int) { block.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
      func octal(_ value: UInt64, _ offset: Int, _ length: Int) {
        let digits = String(value, radix: 8)
        put(Array((String(repeating: "0", count: max(0, length - 1 - digits.count)) + digits).utf8), offset)
      }
      put(Array(name.prefix(100)), 0)
      octal(mode, 100, 8)
      octal(uid, 108, 8)
      octal(gid, 116, 8)
      octal(size, 124, 12)
      octal(modified, 136, 12)
      block[156] = type
      put(Array(link.prefix(100)), 157)
      put(magic, 257)
      octal(major, 329, 8)
      octal(minor, 337, 8)
      for piece in overlay { put(piece.bytes, piece.offset) }
      return Self.checksummed(block)
    }

    static func checksummed(_ block: [UInt8]) -> [UInt8] {
      var block = block
      for index in 148..<156 { block[index] = 0x20 }
      let sum = block.reduce(0) { $0 + Int($1) }
      let digits = String(sum, radix: 8)
      let text = String(repeating: "0", count: 6 - digits.count) + digits
      block.replaceSubrange(148..<154, with: Array(text.utf8))
      block[154] = 0
      return block
    }
  }
}
