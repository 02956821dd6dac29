/// Writes tar headers: ustar, with pax records (POSIX.1-2001) for what that cannot hold, and GNU tar's sparse format 1.0.
enum TarEncoder {
  static let blockSize = 512
  private static let largestOctal: UInt64 = 0o77_777_777_777
  private static let largestID: UInt32 = 0o7_777_777

  /// Appends the header of an entry, and the map of a sparse one, which belongs to its content.
  static func encode(_ entry: ArchiveEntry, into bytes: inout [UInt8]) {
    var map: [UInt8] = []
    if let segments = entry.segments {
      map = encodeMap(segments)
      pad(&map)
    }
    let stored = entry.stored + UInt64(map.count)
    var name = entry.path
    if entry.kind == .directory, name.last != 47 { name.append(47) }
    let records = records(entry, name: name, stored: stored)
    if !records.isEmpty {
      header(name: Array("PaxHeader".utf8), type: 120, mode: 0o644, size: UInt64(records.count), into: &bytes)
      bytes += records
      pad(&bytes)
    }
    header(
      name: name, type: entry.kind.rawValue, mode: entry.mode, uid: entry.uid, gid: entry.gid, size: stored,
      seconds: entry.seconds, link: entry.linkTarget, major: entry.major, minor: entry.minor, into: &bytes)
    bytes += map
  }

  /// The zeros that fill the last block of content.
  static func padding(_ size: UInt64) -> Int { Int((512 - size % 512) % 512) }

  private static func pad(_ bytes: inout [UInt8]) {
    bytes.append(contentsOf: repeatElement(0, count: padding(UInt64(bytes.count))))
  }

  private static func encodeMap(_ segments: [ArchiveSegment]) -> [UInt8] {
    var map: [UInt8] = []
    decimal(UInt64(segments.count), into: &map)
    map.append(10)
    for segment in segments {
      decimal(segment.offset, into: &map)
      map.append(10)
      decimal(segment.length, into: &map)
      map.append(10)
    }
    return map
  }

  private static func records(_ entry: ArchiveEntry, name: [UInt8], stored: UInt64) -> [UInt8] {
    var records: [UInt8] = []
    if entry.segments != nil {
      record("GNU.sparse.major", [49], into: &records)
      record("GNU.sparse.minor", [48], into: &records)
      record("GNU.sparse.name", name, into: &records)
      record("GNU.sparse.realsize", decimal(entry.size), into: &records)
    }
    if name.count > 100 { record("path", name, into: &records) }
    if entry.linkTarget.count > 100 { record("linkpath", entry.linkTarget, into: &records) }
    if stored > largestOctal { record("size", decimal(stored), into: &records) }
    if entry.uid > largestID { record("uid", decimal(UInt64(entry.uid)), into: &records) }
    if entry.gid > largestID { record("gid", decimal(UInt64(entry.gid)), into: &records) }
    if entry.nanoseconds > 0 || entry.seconds < 0 || UInt64(entry.seconds) > largestOctal {
      record("mtime", time(entry.seconds, entry.nanoseconds), into: &records)
    }
    for attribute in entry.attributes {
      record(Array("SCHILY.xattr.".utf8) + attribute.name, attribute.value, into: &records)
    }
    return records
  }

  private static func record(_ key: StaticString, _ value: [UInt8], into bytes: inout [UInt8]) {
    record(key.withUTF8Buffer { [UInt8]($0) }, value, into: &bytes)
  }

  /// `LENGTH KEY=VALUE\n`, the length that of all of it.
  private static func record(_ key: [UInt8], _ value: [UInt8], into bytes: inout [UInt8]) {
    let rest = key.count + value.count + 3
    var length = rest + 1
    while decimal(UInt64(length)).count + rest > length { length += 1 }
    bytes += decimal(UInt64(length))
    bytes.append(32)
    bytes += key
    bytes.append(61)
    bytes += value
    bytes.append(10)
  }

  private static func time(_ seconds: Int64, _ nanoseconds: UInt32) -> [UInt8] {
    // Before 1970 the fraction counts back from the next second.
    var bytes: [UInt8] = []
    var whole = seconds.magnitude
    var fraction = nanoseconds
    if seconds < 0 {
      bytes.append(45)
      if fraction > 0 {
        whole -= 1
        fraction = 1_000_000_000 - fraction
      }
    }
    bytes += decimal(whole)
    guard fraction > 0 else { return bytes }
    bytes.append(46)
    var scale: UInt32 = 100_000_000
    while scale > 0 {
      bytes.append(UInt8(48 + fraction / scale % 10))
      scale /= 10
    }
    return bytes
  }

  private static func decimal(_ number: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    decimal(number, into: &bytes)
    return bytes
  }

  private static func decimal(_ number: UInt64, into bytes: inout [UInt8]) {
    let start = bytes.count
    var rest = number
    repeat {
      bytes.append(UInt8(48 + rest % 10))
      rest /= 10
    } while rest > 0
    bytes[start...].reverse()
  }

  private static func header(
    name: [UInt8], type: UInt8, mode: UInt32, uid: UInt32 = 0, gid: UInt32 = 0, size: UInt64, seconds: Int64 = 0,
    link: [UInt8] = [], major: UInt32 = 0, minor: UInt32 = 0, into bytes: inout [UInt8]
  ) {
    let start = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: blockSize))
    func put(_ value: [UInt8], at offset: Int, limit: Int) {
      for (index, byte) in value.prefix(limit).enumerated() { bytes[start + offset + index] = byte }
    }
    func octal(_ value: UInt64, at offset: Int, digits: Int) {
      var rest = value
      for place in stride(from: offset + digits - 1, through: offset, by: -1) {
        bytes[start + place] = UInt8(48 + rest & 7)
        rest >>= 3
      }
    }
    put(name, at: 0, limit: 100)
    octal(UInt64(mode & 0o7777), at: 100, digits: 7)
    octal(uid > largestID ? 0 : UInt64(uid), at: 108, digits: 7)
    octal(gid > largestID ? 0 : UInt64(gid), at: 116, digits: 7)
    octal(size > largestOctal ? 0 : size, at: 124, digits: 11)
    octal(seconds < 0 || UInt64(seconds) > largestOctal ? 0 : UInt64(seconds), at: 136, digits: 11)
    bytes[start + 156] = type
    put(link, at: 157, limit: 100)
    put([117, 115, 116, 97, 114, 0, 48, 48], at: 257, limit: 8)  // ustar
    octal(UInt64(major), at: 329, digits: 7)
    octal(UInt64(minor), at: 337, digits: 7)
    put([UInt8](repeating: 32, count: 8), at: 148, limit: 8)
    let sum = bytes[start...].reduce(0) { $0 + UInt64($1) }
    octal(sum, at: 148, digits: 6)
    bytes[start + 154] = 0
  }
}
