/// A header block of 512 bytes: the numbers and strings of POSIX.1-1988 ustar, GNU tar and Unix V7.
struct TarHeader {
  static let blockSize = 512

  enum Format { case v7, ustar, gnu }

  /// Points into the reader's buffer: valid until the reader moves on.
  let block: UnsafeRawBufferPointer
  let format: Format

  /// - Throws: `corrupt` where the checksum does not match.
  init(_ block: UnsafeRawBufferPointer) throws(ImageError) {
    self.block = block
    try Self.check(block)
    if Self.equal(block, 257, [0x75, 0x73, 0x74, 0x61, 0x72, 0]) {
      format = .ustar
    } else if Self.equal(block, 257, [0x75, 0x73, 0x74, 0x61, 0x72, 0x20, 0x20, 0]) {
      format = .gnu
    } else {
      format = .v7
    }
  }

  static func isZero(_ block: UnsafeRawBufferPointer) -> Bool { allZero(block) }

  /// Whether a block could be a header, for a look ahead.
  static func isHeader(_ block: UnsafeRawBufferPointer) -> Bool {
    do throws(ImageError) {
      try check(block)
      return true
    } catch {
      return false
    }
  }

  var type: UInt8 { block[156] }

  /// The name field, with ustar's prefix before it.
  var name: [UInt8] {
    let name = string(0, 100)
    guard format == .ustar, block[345] != 0 else { return name }
    return string(345, 155) + [0x2f] + name
  }

  var linkName: [UInt8] { string(157, 100) }

  func string(_ offset: Int, _ length: Int) -> [UInt8] {
    let field = block[offset..<offset + length]
    return Array(field.prefix { $0 != 0 })
  }

  /// A numeric field: octal digits, or GNU's base 256 where the first byte's top bit is set; blank counts as 0.
  func number(_ offset: Int, _ length: Int, _ what: StaticString) throws(ImageError) -> Int64 {
    guard let value = Self.number(block, offset, length) else {
      throw ImageError(.corrupt, "the header of \(displayName(name)) has no valid number as \(what)")
    }
    return value
  }

  /// A numeric field that cannot be below zero, with an upper bound.
  func number(_ offset: Int, _ length: Int, _ what: StaticString, max: UInt64) throws(ImageError) -> UInt64 {
    let value = try number(offset, length, what)
    guard value >= 0, UInt64(value) <= max else {
      throw ImageError(.corrupt, "the header of \(displayName(name)) gives \(value) as \(what)")
    }
    return UInt64(value)
  }

  /// A field of 8 bytes with a number of 32 bits, unless an extension record gave it.
  func id(_ offset: Int, _ what: StaticString, unless given: UInt32?) throws(ImageError) -> UInt32 {
    if let given { return given }
    return UInt32(truncatingIfNeeded: try number(offset, 8, what, max: UInt64(UInt32.max)))
  }

  /// The number of stored bytes, unless an extension record gave it.
  func size(unless given: UInt64?) throws(ImageError) -> UInt64 {
    if let given { return given }
    return try number(124, 12, "size", max: UInt64(Int64.max))
  }

  static func number(_ block: UnsafeRawBufferPointer, _ offset: Int, _ length: Int) -> Int64? {
    let first = block[offset]
    if first & 0x80 != 0 { return base256(block, offset, length) }
    var index = offset
    let end = offset + length
    while index < end, block[index] == 0x20 || block[index] == 0 { index += 1 }
    var value: UInt64 = 0
    while index < end, block[index] &- 0x30 < 8 {
      if value >> 60 != 0 { return nil }
      value = value << 3 | UInt64(block[index] & 7)
      index += 1
    }
    if index < end, block[index] != 0x20, block[index] != 0 { return nil }
    return Int64(exactly: value)
  }

  /// Two's complement, big-endian, in all but the top bit of the field.
  private static func base256(_ block: UnsafeRawBufferPointer, _ offset: Int, _ length: Int) -> Int64? {
    let negative = block[offset] & 0x40 != 0
    var value: Int64 = negative ? -1 : 0
    for index in 0..<length {
      var byte = block[offset + index]
      if index == 0 { byte = negative ? byte | 0x80 : byte & 0x7f }
      let (high, overflow) = value.multipliedReportingOverflow(by: 256)
      if overflow { return nil }
      value = high | Int64(byte)
    }
    return value
  }

  /// The sum of all bytes, the checksum field as blanks; old programs summed signed bytes.
  private static func check(_ block: UnsafeRawBufferPointer) throws(ImageError) {
    var unsigned: Int64 = 0
    var high: Int64 = 0
    for byte in block {
      unsigned += Int64(byte)
      high += Int64(byte >> 7)
    }
    for index in 148..<156 {
      unsigned += 0x20 - Int64(block[index])
      high -= Int64(block[index] >> 7)
    }
    guard let stored = number(block, 148, 8), stored == unsigned || stored == unsigned - 256 * high else {
      throw ImageError(.corrupt, "the data is no tar archive or is damaged: a header's checksum does not match")
    }
  }

  private static func equal(_ block: UnsafeRawBufferPointer, _ offset: Int, _ bytes: [UInt8]) -> Bool {
    for (index, byte) in bytes.enumerated() where block[offset + index] != byte { return false }
    return true
  }
}

/// Whether all bytes are zero.
func allZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var index = 0
  while index + 32 <= bytes.count {
    let a = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
    let b = bytes.loadUnaligned(fromByteOffset: index + 8, as: UInt64.self)
    let c = bytes.loadUnaligned(fromByteOffset: index + 16, as: UInt64.self)
    let d = bytes.loadUnaligned(fromByteOffset: index + 24, as: UInt64.self)
    if a | b | c | d != 0 { return false }
    index += 32
  }
  while index < bytes.count {
    if bytes[index] != 0 { return false }
    index += 1
  }
  return true
}
