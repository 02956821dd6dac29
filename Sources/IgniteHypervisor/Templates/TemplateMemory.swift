internal import Crypto
internal import Glibc
internal import IgniteSystem

/// A machine's memory as a sparse file: its digest, and copies of it.
enum TemplateMemory {
  private static let seekData: Int32 = 3
  private static let seekHole: Int32 = 4
  private static let pieceSize = 1 << 20

  /// Reads what is no hole, and writes it to `target` where there is one, at the same place.
  ///
  /// The digest is over the size, and each page of 4 KiB that has a byte other than zero: its place and its bytes. So it
  /// does not depend on where the file system has holes.
  /// - Returns: the digest in hexadecimal digits.
  static func copy(_ source: FileDescriptor, to target: FileDescriptor? = nil) throws(SystemError) -> String {
    let size = try size(of: source)
    if let target { try retrying("extend a template's memory") { Int(ftruncate(target.number, off_t(size))) } }
    var hash = SHA256()
    put(UInt64(size), into: &hash)
    try forEachPiece(of: source, size: size) { (piece, position) throws(SystemError) in
      try take(piece, at: position, &hash, target)
    }
    return TemplateDigest.hex(hash.finalize())
  }

  /// A copy in memory that is nobody else's, and not sealed. Blocking.
  static func duplicate(_ source: FileDescriptor) throws(SystemError) -> FileDescriptor {
    let target = try MemoryFile.make("ignite-memory")
    let size = try size(of: source)
    try retrying("extend a VM's memory") { Int(ftruncate(target.number, off_t(size))) }
    try forEachPiece(of: source, size: size) { (piece, position) throws(SystemError) in
      try write(piece, to: target, at: position)
    }
    return target
  }

  private static func size(of file: FileDescriptor) throws(SystemError) -> Int64 {
    var info = stat()
    try retrying("look at a template's memory") { Int(fstat(file.number, &info)) }
    return Int64(info.st_size)
  }

  /// What is no hole, at most a mebibyte at once, which begins at a page.
  private static func forEachPiece(
    of source: FileDescriptor, size: Int64, _ body: (UnsafeRawBufferPointer, Int64) throws(SystemError) -> Void
  ) throws(SystemError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceSize, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < size {
      let start = Int64(lseek(source.number, off_t(position), seekData))
      // ENXIO: there is no data any more.
      if start < 0 { break }
      let end = Int64(lseek(source.number, off_t(start), seekHole))
      position = start & ~4095
      while position < (end < 0 ? size : end) {
        // To the next multiple of the piece's size, so that pieces begin alike wherever data does.
        let aligned = (position / Int64(pieceSize) + 1) * Int64(pieceSize)
        let wanted = Int(min(aligned, end < 0 ? size : min(size, (end + 4095) & ~4095)) - position)
        let count = try read(source, buffer, wanted, at: position)
        guard count > 0 else { break }
        try body(UnsafeRawBufferPointer(rebasing: buffer[0..<count]), position)
        position += Int64(count)
      }
    }
  }

  private static func read(
    _ source: FileDescriptor, _ buffer: UnsafeMutableRawBufferPointer, _ wanted: Int, at position: Int64
  ) throws(SystemError) -> Int {
    var done = 0
    while done < wanted {
      let count = try retrying("read a template's memory") {
        pread(source.number, buffer.baseAddress.map { $0 + done }, wanted - done, off_t(position + Int64(done)))
      }
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Pages that are not all zero, digested and written.
  private static func take(
    _ piece: UnsafeRawBufferPointer, at position: Int64, _ hash: inout SHA256, _ target: FileDescriptor?
  ) throws(SystemError) {
    var page = 0
    while page < piece.count {
      let end = min(page + 4096, piece.count)
      let bytes = UnsafeRawBufferPointer(rebasing: piece[page..<end])
      if !isZero(bytes) {
        put(UInt64(position + Int64(page)), into: &hash)
        hash.update(bufferPointer: bytes)
        if let target { try write(bytes, to: target, at: position + Int64(page)) }
      }
      page = end
    }
  }

  private static func write(
    _ bytes: UnsafeRawBufferPointer, to target: FileDescriptor, at position: Int64
  ) throws(SystemError) {
    var done = 0
    while done < bytes.count {
      done += try retrying("write a machine's memory") {
        pwrite(target.number, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(position + Int64(done)))
      }
    }
  }

  private static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let first = bytes.first, let base = bytes.baseAddress else { return true }
    // Equal to itself moved on by one.
    return first == 0 && (bytes.count == 1 || memcmp(base, base + 1, bytes.count - 1) == 0)
  }

  private static func put(_ number: UInt64, into hash: inout SHA256) {
    withUnsafeBytes(of: number.littleEndian) { hash.update(bufferPointer: $0) }
  }
}
