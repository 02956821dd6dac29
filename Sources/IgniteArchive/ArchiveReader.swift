internal import CIgniteArchive

/// Reads archives as `ArchiveWriter` writes them, from a descriptor. What others write the host reads, and writes anew.
public final class ArchiveReader {
  private static let capacity = 256 * 1024

  private let descriptor: Int32
  private let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 4096)
  private var start = 0
  private var end = 0
  /// Of the current entry: bytes of content not read yet, and of padding behind them.
  private var stored: UInt64 = 0
  private var padding = 0

  /// The descriptor stays the caller's.
  public init(descriptor: Int32) {
    self.descriptor = descriptor
    archive_widen_pipe(descriptor)
  }

  deinit { buffer.deallocate() }

  /// The next entry, past the content of the current one; nil at the archive's end, which has to be marked.
  public func next() throws(ArchiveError) -> ArchiveEntry? {
    try skip()
    var records = PaxFields()
    while true {
      let block = try block()
      if block.allSatisfy({ $0 == 0 }) { return nil }
      let header = try TarHeaderFields(block)
      if header.type == 120 {
        let bytes = try take(header.size, limit: ArchiveLimits.extensionBytes)
        try records.decode(bytes)
        continue
      }
      guard let kind = ArchiveEntry.Kind(rawValue: header.type) else { throw malformed }
      return try entry(kind, header, records)
    }
  }

  /// Reads stored bytes of the current entry; 0 at their end.
  public func read(into target: UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int {
    let wanted = Int(min(UInt64(target.count), stored))
    guard wanted > 0 else { return 0 }
    if start == end {
      if wanted >= Self.capacity / 2 {
        let count = archive_read(descriptor, target.baseAddress, wanted)
        if count <= 0 { throw ended(count) }
        stored -= UInt64(count)
        return count
      }
      try fill()
    }
    let count = min(wanted, end - start)
    target.copyMemory(from: UnsafeRawBufferPointer(start: buffer + start, count: count))
    start += count
    stored -= UInt64(count)
    return count
  }

  /// Reads and drops what follows the archive's end, so that its writer is not held up.
  public func drain() {
    while archive_read(descriptor, buffer, Self.capacity) > 0 {}
  }

  private var malformed: ArchiveError { ArchiveError("the archive is malformed") }

  private func ended(_ code: Int) -> ArchiveError {
    code < 0 ? ArchiveError("read the archive: " + errorText(code)) : ArchiveError("the archive ended early")
  }

  private func entry(
    _ kind: ArchiveEntry.Kind, _ header: TarHeaderFields, _ records: PaxFields
  ) throws(ArchiveError) -> ArchiveEntry {
    var entry = ArchiveEntry(
      path: records.sparseName ?? records.path ?? header.name, kind: kind, mode: UInt32(header.mode & 0o7777))
    entry.linkTarget = records.linkPath ?? header.link
    entry.uid = records.uid ?? UInt32(truncatingIfNeeded: header.uid)
    entry.gid = records.gid ?? UInt32(truncatingIfNeeded: header.gid)
    entry.seconds = records.seconds ?? Int64(header.seconds)
    entry.nanoseconds = records.nanoseconds
    entry.major = UInt32(truncatingIfNeeded: header.major)
    entry.minor = UInt32(truncatingIfNeeded: header.minor)
    entry.attributes = records.attributes
    let size = records.size ?? header.size
    guard entry.path.count < ArchiveLimits.pathBytes, entry.linkTarget.count < ArchiveLimits.pathBytes,
      kind == .file || size == 0, size <= ArchiveLimits.fileBytes
    else { throw malformed }
    stored = size
    padding = TarEncoder.padding(size)
    entry.size = size
    if let real = records.sparseSize {
      guard kind == .file, real <= ArchiveLimits.fileBytes else { throw malformed }
      entry.size = real
      entry.segments = try map(real)
    }
    return entry
  }

  /// GNU tar's sparse format 1.0: decimal numbers in the first blocks of the content.
  private func map(_ size: UInt64) throws(ArchiveError) -> [ArchiveSegment] {
    var used = 0
    var byte: UInt8 = 0
    func number() throws(ArchiveError) -> UInt64 {
      var value: UInt64 = 0
      for _ in 0..<20 {
        let got = try withUnsafeMutableBytes(of: &byte) { buffer throws(ArchiveError) in try read(into: buffer) }
        guard got == 1 else { throw malformed }
        used += 1
        if byte == 10 { return value }
        guard byte >= 48, byte <= 57, value <= UInt64.max / 16 else { throw malformed }
        value = value * 10 + UInt64(byte - 48)
      }
      throw malformed
    }
    let count = try number()
    guard count <= UInt64(ArchiveLimits.segments) else { throw malformed }
    var segments: [ArchiveSegment] = []
    var last: UInt64 = 0
    var total: UInt64 = 0
    for _ in 0..<count {
      let segment = ArchiveSegment(offset: try number(), length: try number())
      guard segment.offset >= last, segment.offset <= size, segment.length <= size - segment.offset else {
        throw malformed
      }
      last = segment.offset + segment.length
      total += segment.length
      segments.append(segment)
    }
    for _ in 0..<TarEncoder.padding(UInt64(used)) {
      let got = try withUnsafeMutableBytes(of: &byte) { buffer throws(ArchiveError) in try read(into: buffer) }
      guard got == 1 else { throw malformed }
    }
    guard total == stored else { throw malformed }
    return segments
  }

  // MARK: The buffer

  private func fill() throws(ArchiveError) {
    let count = archive_read(descriptor, buffer, Self.capacity)
    if count <= 0 { throw ended(count) }
    start = 0
    end = count
  }

  private func block() throws(ArchiveError) -> [UInt8] {
    stored = UInt64(TarEncoder.blockSize)
    padding = 0
    return try readRest()
  }

  private func take(_ size: UInt64, limit: Int) throws(ArchiveError) -> [UInt8] {
    guard size <= UInt64(limit) else { throw malformed }
    stored = size
    padding = TarEncoder.padding(size)
    let bytes = try readRest()
    try skip()
    return bytes
  }

  private func readRest() throws(ArchiveError) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(stored))
    while stored > 0 {
      if start == end { try fill() }
      let count = Int(min(stored, UInt64(end - start)))
      bytes.append(contentsOf: UnsafeRawBufferPointer(start: buffer + start, count: count))
      start += count
      stored -= UInt64(count)
    }
    return bytes
  }

  private func skip() throws(ArchiveError) {
    stored += UInt64(padding)
    padding = 0
    while stored > 0 {
      if start == end { try fill() }
      let count = Int(min(stored, UInt64(end - start)))
      start += count
      stored -= UInt64(count)
    }
  }
}
