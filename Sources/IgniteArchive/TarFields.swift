/// The fields of a ustar header.
struct TarHeaderFields {
  let type: UInt8
  let name: [UInt8]
  let link: [UInt8]
  let mode, uid, gid, size, seconds, major, minor: UInt64

  init(_ block: [UInt8]) throws(ArchiveError) {
    let malformed = ArchiveError("the archive is malformed")
    guard block.count == TarEncoder.blockSize, block[257..<262].elementsEqual([117, 115, 116, 97, 114]) else {
      throw malformed
    }
    func octal(_ range: Range<Int>) throws(ArchiveError) -> UInt64 {
      var value: UInt64 = 0
      for byte in block[range] {
        if byte == 0 || byte == 32 { break }
        guard byte >= 48, byte < 56 else { throw malformed }
        value = value << 3 | UInt64(byte - 48)
      }
      return value
    }
    func text(_ range: Range<Int>) -> [UInt8] { [UInt8](block[range].prefix { $0 != 0 }) }
    var sum: UInt64 = 0
    for (index, byte) in block.enumerated() { sum += 148..<156 ~= index ? 32 : UInt64(byte) }
    guard try octal(148..<156) == sum else { throw malformed }
    type = block[156]
    name = text(0..<100)
    link = text(157..<257)
    mode = try octal(100..<108)
    uid = try octal(108..<116)
    gid = try octal(116..<124)
    size = try octal(124..<136)
    seconds = try octal(136..<148)
    major = try octal(329..<337)
    minor = try octal(337..<345)
  }
}

/// What pax records say of the next entry.
struct PaxFields {
  var path: [UInt8]?
  var linkPath: [UInt8]?
  var size: UInt64?
  var uid: UInt32?
  var gid: UInt32?
  var seconds: Int64?
  var nanoseconds: UInt32 = 0
  var sparseName: [UInt8]?
  var sparseSize: UInt64?
  var attributes: [ArchiveEntry.Attribute] = []

  private static let malformed = ArchiveError("the archive has a malformed record")

  mutating func decode(_ bytes: [UInt8]) throws(ArchiveError) {
    var index = 0
    while index < bytes.count {
      var length = 0
      var at = index
      while at < bytes.count, at - index < 8, bytes[at] >= 48, bytes[at] <= 57 {
        length = length * 10 + Int(bytes[at] - 48)
        at += 1
      }
      guard at > index, at < bytes.count, bytes[at] == 32, length > at - index + 1, length <= bytes.count - index,
        bytes[index + length - 1] == 10
      else { throw Self.malformed }
      let record = bytes[(at + 1)..<(index + length - 1)]
      guard let equals = record.firstIndex(of: 61) else { throw Self.malformed }
      try take(key: record[..<equals], value: [UInt8](record[(equals + 1)...]))
      index += length
    }
  }

  private mutating func take(key: ArraySlice<UInt8>, value: [UInt8]) throws(ArchiveError) {
    if key.is("path") {
      path = value
    } else if key.is("linkpath") {
      linkPath = value
    } else if key.is("size") {
      size = try Self.decimal(value)
    } else if key.is("uid") {
      uid = try Self.id(value)
    } else if key.is("gid") {
      gid = try Self.id(value)
    } else if key.is("mtime") {
      try takeTime(value)
    } else if key.is("GNU.sparse.name") {
      sparseName = value
    } else if key.is("GNU.sparse.realsize") {
      sparseSize = try Self.decimal(value)
    } else if key.starts(with: Array("SCHILY.xattr.".utf8)) {
      guard attributes.count < 256, value.count <= ArchiveLimits.attributeBytes else { throw Self.malformed }
      attributes.append(ArchiveEntry.Attribute(name: [UInt8](key.dropFirst(13)), value: value))
    }
  }

  private mutating func takeTime(_ value: [UInt8]) throws(ArchiveError) {
    let parts = value.split(separator: 46, maxSplits: 1, omittingEmptySubsequences: false)
    let negative = parts[0].first == 45
    let whole = try Self.decimal([UInt8](negative ? parts[0].dropFirst() : parts[0]))
    guard whole <= UInt64(Int64.max / 2) else { throw Self.malformed }
    var fraction: UInt32 = 0
    if parts.count == 2 {
      var scale: UInt32 = 100_000_000
      for byte in parts[1] {
        guard byte >= 48, byte <= 57 else { throw Self.malformed }
        fraction += UInt32(byte - 48) * scale
        scale /= 10
      }
    }
    if negative, fraction > 0 {
      seconds = -Int64(whole) - 1
      nanoseconds = 1_000_000_000 - fraction
    } else {
      seconds = negative ? -Int64(whole) : Int64(whole)
      nanoseconds = fraction
    }
  }

  private static func id(_ value: [UInt8]) throws(ArchiveError) -> UInt32 {
    guard let id = UInt32(exactly: try decimal(value)) else { throw malformed }
    return id
  }

  private static func decimal(_ value: [UInt8]) throws(ArchiveError) -> UInt64 {
    guard !value.isEmpty, value.count <= 19 else { throw malformed }
    var number: UInt64 = 0
    for byte in value {
      guard byte >= 48, byte <= 57 else { throw malformed }
      number = number * 10 + UInt64(byte - 48)
    }
    return number
  }
}

extension ArraySlice<UInt8> {
  fileprivate func `is`(_ text: StaticString) -> Bool { text.withUTF8Buffer { elementsEqual($0) } }
}
