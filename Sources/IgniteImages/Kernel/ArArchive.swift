/// The members of an `ar` archive (deb(5), ar(5)), found without reading their data.
struct ArArchive {
  /// One member: where its data lies in the file.
  struct Member {
    var name: String
    var offset: Int64
    var size: Int64
  }

  /// A Debian package has three members; nobody needs more than this.
  static let memberLimit = 64
  private static let magic = Array("!<arch>\n".utf8)
  private static let headerSize = 60

  let path: String
  let members: [Member]

  /// Reads the member headers. Blocking.
  ///
  /// - Throws: `notFound` or `io` from the file, `corrupt` where it is no archive or a member does not fit in it.
  init(path: String) throws(ImageError) {
    self.path = path
    let end = try FileByteSource(path: path).remaining
    guard end >= Int64(Self.magic.count), try Self.bytes(path, 0, Self.magic.count) == Self.magic else {
      throw ImageError(.corrupt, "\(path) is no Debian package: it does not begin with !<arch>")
    }
    var members: [Member] = []
    var offset = Int64(Self.magic.count)
    while offset < end {
      guard end - offset >= Int64(Self.headerSize) else { throw Self.truncated(path, offset) }
      guard members.count < Self.memberLimit else {
        throw ImageError(.limitExceeded, "\(path) has more than \(Self.memberLimit) archive members")
      }
      let header = try Self.bytes(path, offset, Self.headerSize)
      guard header[58] == 0x60, header[59] == 0x0a, let size = Self.decimal(header[48..<58]) else {
        throw ImageError(.corrupt, "\(path) is damaged: no valid archive member header at byte \(offset)")
      }
      offset += Int64(Self.headerSize)
      guard size <= end - offset else { throw Self.truncated(path, offset) }
      members.append(Member(name: Self.name(header[..<16]), offset: offset, size: size))
      // Members begin at even offsets; the last one's padding may be missing.
      offset += size + size % 2
    }
    self.members = members
  }

  /// A member's data as a stream.
  func data(of member: Member) throws(ImageError) -> FileByteSource {
    try FileByteSource(path: path, offset: member.offset, length: member.size)
  }

  private static func bytes(_ path: String, _ offset: Int64, _ count: Int) throws(ImageError) -> [UInt8] {
    try FileByteSource(path: path, offset: offset, length: Int64(count)).readAll(limit: count)
  }

  private static func truncated(_ path: String, _ offset: Int64) -> ImageError {
    ImageError(
      .corrupt, "\(path) is truncated: the archive member at byte \(offset) reaches beyond the file's end",
      advice: "fetch the package again")
  }

  /// A name, without GNU's closing slash and the padding.
  private static func name(_ field: ArraySlice<UInt8>) -> String {
    var name = field
    while let last = name.last, last == 0x20 { name.removeLast() }
    if name.last == UInt8(ascii: "/") { name.removeLast() }
    return displayName(name)
  }

  private static func decimal(_ field: ArraySlice<UInt8>) -> Int64? {
    var value: Int64 = 0
    var digits = 0
    for byte in field {
      if byte == 0x20, digits > 0 { continue }
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      // Ten digits at most, so this cannot overflow.
      value = value * 10 + Int64(byte - 0x30)
      digits += 1
    }
    return digits > 0 ? value : nil
  }
}
