/// What the extension headers say of the next member (`x`) or of all that follow (`g`): POSIX.1-2001 pax, with the
/// records of star, GNU tar and libarchive.
struct PaxRecords {
  var path: [UInt8]?
  var linkPath: [UInt8]?
  var size: UInt64?
  var uid: UInt32?
  var gid: UInt32?
  var modified: FileTime?
  var deviceMajor: UInt32?
  var deviceMinor: UInt32?
  var attributes: [ExtendedAttribute] = []
  var sparse = SparseRecords()

  /// GNU tar's records on sparse files, in its formats 0.0, 0.1 and 1.0.
  struct SparseRecords {
    var major: UInt64?
    var minor: UInt64?
    var name: [UInt8]?
    var realSize: UInt64?
    var segments: [TarSegment] = []
    var pendingOffset: UInt64?
    var isMapped = false

    var isPresent: Bool { isMapped || major != nil || realSize != nil || !segments.isEmpty }
  }

  /// Takes the records of one header: `LENGTH KEY=VALUE\n`, the length in decimal and of all of it.
  mutating func decode(_ bytes: [UInt8], limits: TarLimits) throws(ImageError) {
    var index = 0
    while index < bytes.count {
      // GNU tar pads nothing, some writers end the block with zeros.
      if bytes[index] == 0 { break }
      var length = 0
      var at = index
      while at < bytes.count, bytes[at] &- 0x30 < 10, at - index < 8 {
        length = length * 10 + Int(bytes[at] - 0x30)
        at += 1
      }
      guard at > index, at < bytes.count, bytes[at] == 0x20, length > at - index + 1, length <= bytes.count - index,
        bytes[index + length - 1] == 0x0a
      else { throw ImageError(.corrupt, "an extension header has a record that does not parse") }
      let record = bytes[(at + 1)..<(index + length - 1)]
      guard let equals = record.firstIndex(of: 0x3d), equals > record.startIndex else {
        throw ImageError(.corrupt, "an extension header has a record without a key")
      }
      try take(key: record[..<equals], value: record[(equals + 1)...], limits: limits)
      index += length
    }
  }

  private mutating func take(
    key bytes: ArraySlice<UInt8>, value: ArraySlice<UInt8>, limits: TarLimits
  ) throws(ImageError) {
    let key = String(decoding: bytes, as: UTF8.self)
    switch key {
    case "path": path = try name(key, value, limits)
    case "linkpath": linkPath = try name(key, value, limits)
    case "size": size = value.isEmpty ? nil : try number(key, value)
    case "uid": uid = value.isEmpty ? nil : try id(key, value)
    case "gid": gid = value.isEmpty ? nil : try id(key, value)
    case "mtime": modified = value.isEmpty ? nil : try time(key, value)
    case "SCHILY.devmajor": deviceMajor = try id(key, value)
    case "SCHILY.devminor": deviceMinor = try id(key, value)
    case "SCHILY.realsize":
      throw ImageError(.unsupported, "the archive has a sparse file in star's own format, which is not supported")
    case _ where key.hasPrefix("GNU.sparse."): try takeSparse(key, value, limits)
    case "RHT.security.selinux": try attribute(name: Array("security.selinux".utf8), Array(value), limits)
    case _ where key.hasPrefix("SCHILY.xattr."): try attribute(name: Array(bytes.dropFirst(13)), Array(value), limits)
    case _ where key.hasPrefix("LIBARCHIVE.xattr."):
      guard let name = percentDecoded(bytes.dropFirst(17)), let plain = base64Decoded(value) else {
        throw ImageError(.corrupt, "an extension header has an extended attribute that does not parse")
      }
      try attribute(name: name, plain, limits)
    default: break
    }
  }

  private mutating func attribute(name: [UInt8], _ value: [UInt8], _ limits: TarLimits) throws(ImageError) {
    guard !name.isEmpty, name.count <= 255, !name.contains(0) else {
      throw ImageError(.corrupt, "an extension header has an extended attribute without a valid name")
    }
    guard value.count <= limits.attributeBytes else {
      throw ImageError(
        .limitExceeded,
        "the extended attribute \(displayName(name)) has \(value.count) bytes, more than \(limits.attributeBytes)")
    }
    // libarchive writes each attribute twice, in both spellings.
    attributes.removeAll { $0.name == name }
    guard attributes.count < 1000 else {
      throw ImageError(.limitExceeded, "a member has more than 1000 extended attributes")
    }
    attributes.append(ExtendedAttribute(name: name, value: value))
  }

  private mutating func takeSparse(
    _ key: String, _ value: ArraySlice<UInt8>, _ limits: TarLimits
  ) throws(ImageError) {
    switch key {
    case "GNU.sparse.major": sparse.major = try number(key, value)
    case "GNU.sparse.minor": sparse.minor = try number(key, value)
    case "GNU.sparse.name": sparse.name = try name(key, value, limits)
    case "GNU.sparse.realsize", "GNU.sparse.size": sparse.realSize = try number(key, value)
    case "GNU.sparse.numblocks": sparse.isMapped = true
    case "GNU.sparse.offset": sparse.pendingOffset = try number(key, value)
    case "GNU.sparse.numbytes":
      guard let offset = sparse.pendingOffset else {
        throw ImageError(.corrupt, "an extension header has a sparse file's length without an offset")
      }
      sparse.segments.append(TarSegment(offset: offset, length: try number(key, value)))
      sparse.pendingOffset = nil
      sparse.isMapped = true
    case "GNU.sparse.map":
      sparse.segments = []
      sparse.isMapped = true
      var numbers: [UInt64] = []
      for part in value.split(separator: 0x2c, omittingEmptySubsequences: false) where !value.isEmpty {
        numbers.append(try number(key, part))
      }
      guard numbers.count % 2 == 0 else { throw ImageError(.corrupt, "an extension header has half a sparse map") }
      for index in stride(from: 0, to: numbers.count, by: 2) {
        sparse.segments.append(TarSegment(offset: numbers[index], length: numbers[index + 1]))
      }
    default: break
    }
    guard sparse.segments.count <= limits.segments else {
      throw ImageError(.limitExceeded, "a sparse file has more than \(limits.segments) runs of data")
    }
  }

  private func name(_ key: String, _ value: ArraySlice<UInt8>, _ limits: TarLimits) throws(ImageError) -> [UInt8]? {
    // An empty value takes an earlier record back.
    if value.isEmpty { return nil }
    guard !value.contains(0) else { throw ImageError(.corrupt, "the extension record \(key) holds a zero byte") }
    guard value.count <= limits.nameBytes else {
      throw ImageError(
        .limitExceeded, "the name \(displayName(value)) has \(value.count) bytes, more than \(limits.nameBytes)")
    }
    return Array(value)
  }

  private func number(_ key: String, _ value: ArraySlice<UInt8>) throws(ImageError) -> UInt64 {
    guard let number = decimal(value) else {
      throw ImageError(.corrupt, "the extension record \(displayName(key.utf8)) is no valid number")
    }
    return number
  }

  private func id(_ key: String, _ value: ArraySlice<UInt8>) throws(ImageError) -> UInt32 {
    guard let number = decimal(value), let id = UInt32(exactly: number) else {
      throw ImageError(.corrupt, "the extension record \(key) is no number of 32 bits")
    }
    return id
  }

  /// Seconds with a fraction of any length, perhaps negative; time is rounded towards the past.
  private func time(_ key: String, _ value: ArraySlice<UInt8>) throws(ImageError) -> FileTime {
    let negative = value.first == 0x2d
    let parts = value.dropFirst(negative ? 1 : 0).split(separator: 0x2e, maxSplits: 1, omittingEmptySubsequences: false)
    guard let whole = parts.first.flatMap({ decimal($0) }), whole <= UInt64(Int64.max) else {
      throw ImageError(.corrupt, "the extension record \(key) is no valid time")
    }
    var nanoseconds: UInt32 = 0
    var rest = false
    if parts.count > 1 {
      guard parts[1].allSatisfy({ $0 &- 0x30 < 10 }) else {
        throw ImageError(.corrupt, "the extension record \(key) is no valid time")
      }
      let digits = Array(parts[1])
      for index in 0..<9 { nanoseconds = nanoseconds * 10 + (index < digits.count ? UInt32(digits[index] - 0x30) : 0) }
      rest = digits.dropFirst(9).contains { $0 != 0x30 }
    }
    guard negative else { return FileTime(seconds: Int64(whole), nanoseconds: nanoseconds) }
    if rest { nanoseconds += 1 }
    if nanoseconds == 0 { return FileTime(seconds: -Int64(whole)) }
    return FileTime(seconds: -Int64(whole) - 1, nanoseconds: 1_000_000_000 - nanoseconds)
  }
}

/// A number in decimal digits that fits 63 bits; nil for anything else.
func decimal(_ digits: some Collection<UInt8>) -> UInt64? {
  if digits.isEmpty || digits.count > 19 { return nil }
  var value: UInt64 = 0
  for digit in digits {
    guard digit &- 0x30 < 10 else { return nil }
    value = value &* 10 &+ UInt64(digit - 0x30)
  }
  return value <= UInt64(Int64.max) ? value : nil
}

private func percentDecoded(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
  var out: [UInt8] = []
  var index = bytes.startIndex
  while index < bytes.endIndex {
    guard bytes[index] == 0x25 else {
      out.append(bytes[index])
      index += 1
      continue
    }
    guard bytes.endIndex - index > 2, let high = hexDigit(bytes[index + 1]), let low = hexDigit(bytes[index + 2]) else {
      return nil
    }
    out.append(high << 4 | low)
    index += 3
  }
  return out
}

/// The value of a hexadecimal digit.
func hexDigit(_ byte: UInt8) -> UInt8? {
  switch byte {
  case 0x30...0x39: byte - 0x30
  case 0x41...0x46: byte - 0x37
  case 0x61...0x66: byte - 0x57
  default: nil
  }
}

/// Base64 with or without padding, as libarchive writes it.
private func base64Decoded(_ bytes: ArraySlice<UInt8>) -> [UInt8]? {
  var out: [UInt8] = []
  var bits: UInt32 = 0
  var count: UInt32 = 0
  for byte in bytes {
    let digit: UInt8
    switch byte {
    case 0x41...0x5a: digit = byte - 0x41
    case 0x61...0x7a: digit = byte - 0x47
    case 0x30...0x39: digit = byte + 4
    case 0x2b, 0x2d: digit = 62
    case 0x2f, 0x5f: digit = 63
    case 0x3d: continue
    default: return nil
    }
    bits = (bits << 6 | UInt32(digit)) & 0xfff
    count += 6
    if count >= 8 {
      count -= 8
      out.append(UInt8(truncatingIfNeeded: bits >> count))
    }
  }
  return out
}
