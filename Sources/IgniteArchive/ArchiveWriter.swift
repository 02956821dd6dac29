internal import CIgniteArchive

/// Writes an archive to a descriptor, through a buffer.
public final class ArchiveWriter {
  private static let capacity = 256 * 1024

  private let descriptor: Int32
  private let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 4096)
  private var used = 0
  /// Bytes of archive so far.
  public private(set) var written: UInt64 = 0

  /// The descriptor stays the caller's.
  public init(descriptor: Int32) {
    self.descriptor = descriptor
    archive_widen_pipe(descriptor)
  }

  deinit { buffer.deallocate() }

  /// Begins an entry; its content follows by `append`, exactly `entry.stored` bytes, and `pad`.
  public func begin(_ entry: ArchiveEntry) throws(ArchiveError) {
    var bytes: [UInt8] = []
    TarEncoder.encode(entry, into: &bytes)
    try append(bytes)
  }

  /// Fills the last block of an entry's content.
  public func pad(_ entry: ArchiveEntry) throws(ArchiveError) {
    try appendZeros(UInt64(TarEncoder.padding(entry.stored)))
  }

  /// Ends the archive: two blocks of zeros.
  public func finish() throws(ArchiveError) {
    try appendZeros(1024)
    try flush()
  }

  public func append(_ bytes: [UInt8]) throws(ArchiveError) {
    var at = 0
    while at < bytes.count {
      let count = min(bytes.count - at, Self.capacity - used)
      bytes.withUnsafeBytes { source in
        UnsafeMutableRawBufferPointer(start: buffer + used, count: count)
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[at..<at + count]))
      }
      at += count
      try took(count)
    }
  }

  func appendZeros(_ count: UInt64) throws(ArchiveError) {
    var left = count
    while left > 0 {
      let count = Int(min(left, UInt64(Self.capacity - used)))
      (buffer + used).initializeMemory(as: UInt8.self, repeating: 0, count: count)
      left -= UInt64(count)
      try took(count)
    }
  }

  /// Appends at most `limit` bytes that `read` puts where it is told; the number, 0 when there was nothing to read.
  public func append(
    atMost limit: UInt64, _ read: (UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int
  ) throws(ArchiveError) -> Int {
    let room = Int(min(limit, UInt64(Self.capacity - used)))
    let count = try read(UnsafeMutableRawBufferPointer(start: buffer + used, count: room))
    try took(count)
    return count
  }

  private func took(_ count: Int) throws(ArchiveError) {
    used += count
    written += UInt64(count)
    if used == Self.capacity { try flush() }
  }

  private func flush() throws(ArchiveError) {
    let result = archive_write(descriptor, buffer, used)
    used = 0
    if result < 0 { throw ArchiveError("write the archive: " + errorText(result), breaksArchive: true) }
  }
}
