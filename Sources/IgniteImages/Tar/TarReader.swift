/// Reads a tar archive as a stream, member by member: ustar, GNU tar, pax, star and Unix V7.
///
/// Memory stays bounded by `TarLimits`. The archive ends at two blocks of zeros, at one before the stream's end, or at
/// the stream's end between two members, as GNU tar has it; ending anywhere else is an error.
public final class TarReader {
  private static let bufferSize = 256 * 1024

  let source: any ByteSource
  let limits: TarLimits
  private let skipping: (any SkippingByteSource)?
  private let buffer: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0

  private var global = PaxRecords()
  private var entryCount: UInt64 = 0
  private var finished = false
  /// Stored bytes of the current member not yet read, and the padding that follows them.
  var stored: UInt64 = 0
  private var padding = 0
  /// The current member, for messages and for `readData`.
  private var current: TarEntry?
  private var position: UInt64 = 0
  private var segment = 0

  /// Whether the archive ended with a block of zeros; false where the stream just ended between two members.
  public private(set) var hasEndMarker = false
  /// Bytes taken from the source so far.
  public private(set) var bytesRead: UInt64 = 0

  /// - Parameters:
  ///   - source: the unpacked archive; see `Compression.unpacked`.
  ///   - limits: what the archive may hold.
  public init(_ source: any ByteSource, limits: TarLimits = TarLimits()) {
    self.source = source
    self.limits = limits
    skipping = source as? any SkippingByteSource
    buffer = .allocate(byteCount: Self.bufferSize, alignment: 64)
  }

  deinit { buffer.deallocate() }

  /// Moves to the next member, past the data of the current one; nil at the archive's end.
  ///
  /// - Throws: `corrupt`, `limitExceeded`, `unsupported`, or what the source throws; the reader is of no use then.
  public func next() throws(ImageError) -> TarEntry? {
    try skipData()
    if finished { return nil }
    var records = global
    var hasRecords = false
    var longName: [UInt8]?
    var longLink: [UInt8]?
    while true {
      guard let block = try peekBlock() else {
        guard !hasRecords, longName == nil, longLink == nil else { throw truncated("after an extension header") }
        finished = true
        return nil
      }
      if TarHeader.isZero(block) {
        try endArchive()
        return nil
      }
      entryCount += 1
      guard entryCount <= limits.entries else {
        throw ImageError(.limitExceeded, "the archive has more than \(limits.entries) entries")
      }
      let header = try TarHeader(block)
      switch header.type {
      case UInt8(ascii: "x"), UInt8(ascii: "X"):
        let bytes = try readExtension(header)
        try records.decode(bytes, limits: limits)
        hasRecords = true
      case UInt8(ascii: "g"):
        let bytes = try readExtension(header)
        try global.decode(bytes, limits: limits)
        global.sparse = PaxRecords.SparseRecords()
        if !hasRecords { records = global }
      case UInt8(ascii: "L"): longName = try readLongName(header)
      case UInt8(ascii: "K"): longLink = try readLongName(header)
      case UInt8(ascii: "V"):
        // GNU tar's volume label: no file.
        consume(TarHeader.blockSize)
      case UInt8(ascii: "M"), UInt8(ascii: "N"):
        throw ImageError(.unsupported, "the archive is one of several volumes or of a format no longer in use")
      default:
        return try decode(header, records, hasRecords: hasRecords, longName: longName, longLink: longLink)
      }
    }
  }

  /// Reads the current member's content, zeros for the holes of a sparse file; 0 at its end.
  public func readData(into target: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    guard let current, let segments = current.segments else { return try readStored(into: target) }
    if target.count == 0 || position >= current.size { return 0 }
    while segment < segments.count, position >= segments[segment].offset + segments[segment].length { segment += 1 }
    let run = segment < segments.count ? segments[segment] : TarSegment(offset: current.size, length: 0)
    if position < run.offset {
      let count = Int(min(UInt64(target.count), run.offset - position))
      UnsafeMutableRawBufferPointer(rebasing: target[..<count]).initializeMemory(as: UInt8.self, repeating: 0)
      position += UInt64(count)
      return count
    }
    let wanted = Int(min(UInt64(target.count), run.offset + run.length - position))
    let count = try readStored(into: UnsafeMutableRawBufferPointer(rebasing: target[..<wanted]))
    position += UInt64(count)
    return count
  }

  /// Where the current member's data begins in the source, as long as none of it was read.
  var dataOffset: UInt64 { bytesRead - UInt64(end - start) }

  /// Reads the current member's stored bytes: of a sparse file what lies in its segments, without the holes; 0 at their
  /// end. Not to be mixed with `readData`.
  public func readStoredData(into target: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    try readStored(into: target)
  }

  /// The current member's content as a source of its own, good until `next()` is called.
  public var data: any ByteSource {
    ClosureByteSource { [self] target throws(ImageError) in try readData(into: target) }
  }

  // MARK: - Members

  private func decode(
    _ header: TarHeader, _ records: PaxRecords, hasRecords: Bool, longName: [UInt8]?, longLink: [UInt8]?
  ) throws(ImageError) -> TarEntry {
    let name = records.sparse.name ?? records.path ?? longName ?? header.name
    let kind = try kind(header, name)
    var entry = TarEntry(path: name, kind: kind, attributes: try attributes(header, records))
    if kind == .hardLink || kind == .symbolicLink {
      entry.linkTarget = records.linkPath ?? longLink ?? header.linkName
    }
    if kind == .characterDevice || kind == .blockDevice {
      entry.deviceMajor = try header.id(329, "device number", unless: records.deviceMajor)
      entry.deviceMinor = try header.id(337, "device number", unless: records.deviceMinor)
    }
    var size = try header.size(unless: records.size)
    let isDump = header.type == UInt8(ascii: "D")
    if kind != .file, kind != .hardLink, !isDump { size = 0 }
    let oldSparse = header.type == UInt8(ascii: "S")
    let realSize = oldSparse ? try header.number(483, 12, "real size", max: UInt64(Int64.max)) : 0
    let format = header.format
    var map = oldSparse ? try OldSparseMap(header) : nil
    // The header's bytes are gone from here on.
    consume(TarHeader.blockSize)
    while map?.isExtended == true { try readMapExtension(&map) }
    if kind == .hardLink, size > 0 { size = try hardLinkSize(size, format, hasRecords) }
    beginData(size)
    if kind == .hardLink || kind == .file {
      entry.size = size
      if let map {
        entry.size = realSize
        entry.segments = map.segments
      } else if records.sparse.isPresent {
        try decodePaxSparse(records.sparse, &entry)
      }
      if let segments = entry.segments { entry.segments = try checked(segments, entry) }
      guard entry.size <= limits.fileBytes else {
        throw ImageError(
          .limitExceeded, "\(entry.displayPath) has \(entry.size) bytes, more than the limit of \(limits.fileBytes)")
      }
    }
    current = entry
    return entry
  }

  private func attributes(_ header: TarHeader, _ records: PaxRecords) throws(ImageError) -> FileAttributes {
    let modified: FileTime
    if let time = records.modified {
      modified = time
    } else {
      modified = FileTime(seconds: try header.number(136, 12, "time"))
    }
    return FileAttributes(
      // Old programs stored the type of file in the mode too.
      mode: UInt16(truncatingIfNeeded: try header.number(100, 8, "mode")) & 0o7777,
      uid: try header.id(108, "user ID", unless: records.uid), gid: try header.id(116, "group ID", unless: records.gid),
      modified: modified, extendedAttributes: records.attributes)
  }

  private func kind(_ header: TarHeader, _ name: [UInt8]) throws(ImageError) -> TarEntry.Kind {
    switch header.type {
    case UInt8(ascii: "1"): return .hardLink
    case UInt8(ascii: "2"): return .symbolicLink
    case UInt8(ascii: "3"): return .characterDevice
    case UInt8(ascii: "4"): return .blockDevice
    case UInt8(ascii: "5"), UInt8(ascii: "D"): return .directory
    case UInt8(ascii: "6"): return .fifo
    case 0, UInt8(ascii: "0"):
      // V7 had no type for directories but the slash.
      return name.last == 0x2f ? .directory : .file
    default:
      // POSIX: what is not known is a regular file; GNU tar does the same.
      return .file
    }
  }

  /// Whether a hard link has data of its own is left open by the formats: pax may, V7 and GNU tar never do, and with
  /// ustar the next block tells.
  private func hardLinkSize(
    _ size: UInt64, _ format: TarHeader.Format, _ hasRecords: Bool
  ) throws(ImageError) -> UInt64 {
    if hasRecords { return size }
    guard format == .ustar, let block = try peekBlock() else { return 0 }
    return TarHeader.isZero(block) || TarHeader.isHeader(block) ? 0 : size
  }

  private func beginData(_ size: UInt64) {
    stored = size
    padding = Int((512 - size % 512) % 512)
    position = 0
    segment = 0
  }

  private func endArchive() throws(ImageError) {
    hasEndMarker = true
    finished = true
    consume(TarHeader.blockSize)
    if let block = try peekBlock(), !TarHeader.isZero(block) {
      throw ImageError(.corrupt, "the archive has a lone block of zeros between its members")
    }
  }

  // MARK: - Extension headers

  private func readExtension(_ header: TarHeader) throws(ImageError) -> [UInt8] {
    let size = try header.size(unless: nil)
    return try readWhole(size, limit: limits.extensionBytes, "an extension header")
  }

  private func readLongName(_ header: TarHeader) throws(ImageError) -> [UInt8] {
    let size = try header.size(unless: nil)
    let bytes = try readWhole(size, limit: limits.nameBytes + 1, "a long name")
    let name = Array(bytes.prefix { $0 != 0 })
    guard name.count <= limits.nameBytes else {
      throw ImageError(.limitExceeded, "a name has more than \(limits.nameBytes) bytes: \(displayName(name))")
    }
    return name
  }

  private func readWhole(_ size: UInt64, limit: Int, _ what: String) throws(ImageError) -> [UInt8] {
    guard size <= UInt64(limit) else {
      throw ImageError(.limitExceeded, "\(what) has \(size) bytes, more than the limit of \(limit)")
    }
    consume(TarHeader.blockSize)
    current = nil
    beginData(size)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(size))
    while stored > 0 {
      if start == end, try fill() == 0 { throw truncated("inside \(what)") }
      let count = Int(min(UInt64(end - start), stored))
      bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[start..<start + count]))
      start += count
      stored -= UInt64(count)
    }
    try skipData()
    return bytes
  }

  // MARK: - The buffer

  /// Reads stored bytes of the current member; 0 at their end.
  func readStored(into target: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let wanted = Int(min(UInt64(target.count), stored))
    if wanted == 0 { return 0 }
    var count = min(wanted, end - start)
    if count > 0 {
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<start + count]))
      start += count
    } else if wanted >= Self.bufferSize / 4 {
      // Large pieces need no stop on the way.
      count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: target[..<wanted]))
      bytesRead += UInt64(count)
      if count == 0 { throw truncated("inside \(current?.displayPath ?? "a member")") }
    } else {
      if try fill() == 0 { throw truncated("inside \(current?.displayPath ?? "a member")") }
      return try readStored(into: target)
    }
    stored -= UInt64(count)
    return count
  }

  /// Skips what is left of the current member, with its padding.
  private func skipData() throws(ImageError) {
    while stored > 0 || padding > 0 {
      if start == end, stored > UInt64(Self.bufferSize), let skipping {
        let count = try skipping.skip(stored)
        bytesRead += count
        stored -= count
        if stored > 0 { throw truncated("inside \(current?.displayPath ?? "a member")") }
        continue
      }
      if start == end, try fill() == 0 { throw truncated("inside \(current?.displayPath ?? "a member")") }
      let count = Int(min(UInt64(end - start), stored))
      start += count
      stored -= UInt64(count)
      if stored == 0 {
        let pad = min(padding, end - start)
        start += pad
        padding -= pad
      }
    }
    current = nil
  }

  /// The next block, which stays where it is; nil at the stream's end.
  func peekBlock() throws(ImageError) -> UnsafeRawBufferPointer? {
    while end - start < TarHeader.blockSize {
      if try fill() == 0 {
        if end == start { return nil }
        throw truncated("inside a header")
      }
    }
    return UnsafeRawBufferPointer(rebasing: buffer[start..<start + TarHeader.blockSize])
  }

  func consume(_ count: Int) { start += count }

  /// Takes more bytes from the source; returns 0 at its end.
  private func fill() throws(ImageError) -> Int {
    if start > 0 {
      let rest = end - start
      if rest > 0 {
        UnsafeMutableRawBufferPointer(rebasing: buffer[..<rest])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
      }
      start = 0
      end = rest
    }
    let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[end...]))
    end += count
    bytesRead += UInt64(count)
    return count
  }

  func truncated(_ place: String) -> ImageError {
    ImageError(.corrupt, "the archive is truncated: its data ends after \(bytesRead) bytes, \(place)")
  }
}
