internal import Glibc

/// Linux as it is shipped: an ELF `vmlinux`, or a bzImage (Documentation/arch/x86/boot.rst) around a packed one.
enum KernelImage {
  /// The most bytes that an unpacked kernel may have.
  static let vmlinuxLimit: UInt64 = 512 << 20
  /// Where the setup header's fields lie, from the image's beginning.
  private enum Field {
    static let setupSectors = 0x1f1
    static let magic = 0x202
    static let version = 0x206
    static let payloadOffset = 0x248
    static let payloadLength = 0x24c
  }
  private static let headSize = 0x250
  private static let executable: UInt16 = 2
  private static let pvhNoteType: UInt32 = 18

  /// Unpacks a kernel into an ELF file. Blocking.
  ///
  /// - Parameters:
  ///   - image: the bzImage, or the ELF file itself, at its first byte.
  ///   - path: where the ELF file is made; it must not exist.
  /// - Returns: the ELF file's size in bytes.
  static func unpack(_ image: any ByteSource, to path: String) throws(ImageError) -> UInt64 {
    let image = try PeekedByteSource(image, count: headSize)
    if image.head.starts(with: [0x7f, 0x45, 0x4c, 0x46]) {
      return try SparseFile.write(LimitedByteSource(image, limit: vmlinuxLimit), to: path)
    }
    let payload = try payload(of: image)
    let peeked = try PeekedByteSource(payload, count: 6)
    let unpacked: any ByteSource
    switch Compression.detect(peeked.head) {
    case .gzip: unpacked = GzipByteSource(peeked, limit: vmlinuxLimit)
    case .xz: unpacked = try XZByteSource(peeked, limit: vmlinuxLimit, concatenated: false)
    case .zstd: unpacked = try ZstdByteSource(peeked, limit: vmlinuxLimit, concatenated: false)
    case .none where peeked.head.starts(with: LZ4LegacyByteSource.magic):
      unpacked = try LZ4LegacyByteSource(peeked, limit: vmlinuxLimit)
    case .none where peeked.head.starts(with: [0x7f, 0x45, 0x4c, 0x46]):
      unpacked = LimitedByteSource(peeked, limit: vmlinuxLimit)
    case .none, .bzip2:
      throw ImageError(
        .unsupported, "the kernel is packed by a method other than LZ4, gzip, xz and zstd",
        advice: "use a kernel built with CONFIG_KERNEL_LZ4 or CONFIG_KERNEL_GZIP")
    }
    return try SparseFile.write(unpacked, to: path)
  }

  /// The packed kernel within a bzImage (boot.rst, payload_offset and payload_length).
  private static func payload(of image: PeekedByteSource) throws(ImageError) -> any ByteSource {
    let head = image.head
    guard head.count == headSize, head.littleEndian(at: Field.magic, bytes: 4) == 0x5372_6448 else {
      throw ImageError(
        .corrupt, "it is neither an ELF file nor a Linux bzImage: the setup header's magic number is wrong")
    }
    guard head.littleEndian(at: Field.version, bytes: 2) >= 0x0208 else {
      throw ImageError(.unsupported, "it follows a boot protocol older than 2.08, which does not tell its payload")
    }
    // Zero means four, for old times' sake.
    let sectors = head[Field.setupSectors] == 0 ? 4 : UInt64(head[Field.setupSectors])
    let start = (sectors + 1) * 512 + head.littleEndian(at: Field.payloadOffset, bytes: 4)
    let length = head.littleEndian(at: Field.payloadLength, bytes: 4)
    guard length > 0, length <= vmlinuxLimit, start <= vmlinuxLimit else {
      throw ImageError(.corrupt, "its setup header tells a payload of \(length) bytes at byte \(start)")
    }
    let skipped = try PrefixByteSource(image, length: start).drain()
    guard skipped == start else { throw ImageError(.corrupt, "it is truncated: it ends before its payload") }
    return PrefixByteSource(image, length: length)
  }

  /// Checks that a file is an x86-64 kernel that boots by PVH, as QEMU's microvm machine does it: an ELF executable with
  /// the note XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h). Blocking.
  static func check(_ path: String) throws(ImageError) {
    let source = try FileByteSource(path: path)
    let elf = try ELF64(size: Int(source.remaining)) { (range) throws(ImageError) in
      try FileByteSource(path: path, offset: Int64(range.lowerBound), length: Int64(range.count))
        .readAll(limit: range.count)
    }
    guard elf.type == executable, elf.machine == ELF64.machineX86_64 else {
      throw ImageError(.unsupported, "the kernel is not one for x86-64", advice: "use a kernel package for amd64")
    }
    guard try elf.notes().contains(where: { $0.type == pvhNoteType && $0.name == Array("Xen".utf8) }) else {
      throw ImageError(
        .unsupported, "the kernel has no PVH entry point", advice: "use a kernel built with CONFIG_PVH=y")
    }
  }
}

/// The first bytes of a stream as a stream; the rest stays for whoever reads on.
final class PrefixByteSource: ByteSource {
  private let source: any ByteSource
  private var left: UInt64

  init(_ source: any ByteSource, length: UInt64) {
    self.source = source
    left = length
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let wanted = Int(min(UInt64(buffer.count), left))
    if wanted == 0 { return 0 }
    let count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
    left -= UInt64(count)
    return count
  }
}

/// Writing a stream to a new file, blocks of zeros as holes.
enum SparseFile {
  private static let chunk = 1 << 20
  private static let block = 4096

  /// - Returns: the file's length in bytes.
  static func write(_ source: any ByteSource, to path: String) throws(ImageError) -> UInt64 {
    let number = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    if number < 0 { throw .system("create", path) }
    let descriptor = OwnedDescriptor(number)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: 4096)
    defer { buffer.deallocate() }
    var offset: UInt64 = 0
    while true {
      let count = try source.readFully(into: buffer)
      var start = 0
      while start < count {
        // A run of blocks with data, written by one call; then a run of zeros, left out.
        var end = start
        while end < count, !isZero(buffer, end, min(count, end + block)) { end = min(count, end + block) }
        try writeAll(descriptor.number, buffer, start..<end, at: offset, path)
        start = end
        while start < count, isZero(buffer, start, min(count, start + block)) { start = min(count, start + block) }
      }
      offset += UInt64(count)
      if count < buffer.count { break }
    }
    if ftruncate(descriptor.number, off_t(offset)) != 0 { throw .system("write", path) }
    return offset
  }

  private static func isZero(_ buffer: UnsafeMutableRawBufferPointer, _ start: Int, _ end: Int) -> Bool {
    // All bytes equal their neighbours and the first one is zero.
    guard let base = buffer.baseAddress, buffer[start] == 0 else { return false }
    return end - start == 1 || memcmp(base + start, base + start + 1, end - start - 1) == 0
  }

  static func writeAll(
    _ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer, _ range: Range<Int>, at offset: UInt64, _ path: String
  ) throws(ImageError) {
    var done = range.lowerBound
    while done < range.upperBound {
      let count = pwrite(
        descriptor, buffer.baseAddress.map { $0 + done }, range.upperBound - done,
        off_t(offset + UInt64(done)))
      if count < 0 {
        if errno == EINTR { continue }
        throw .system("write", path)
      }
      done += count
    }
  }
}
