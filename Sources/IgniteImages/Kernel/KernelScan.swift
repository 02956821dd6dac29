internal import Glibc

/// What an unpacked kernel says of itself between its code: its banner, and with CONFIG_IKCONFIG its configuration.
struct KernelScan: Sendable {
  /// The release, as `uname -r` prints it: the third word of `Linux version …`.
  var version: String?
  /// The configuration that is part of the kernel (kernel/configs.c).
  var configuration: KernelConfiguration?
  var hasSMP = false
  /// Whether the built-in virtio-mmio driver finds devices through ACPI: it then knows their hardware ID.
  var findsDevicesByACPI = false
  /// Whether it takes devices from the kernel's command line: it then has a parameter for them.
  var takesDevicesByCommandLine = false

  private static let banner = Array("Linux version ".utf8)
  private static let configurationStart = Array("IKCFG_ST".utf8)
  private static let configurationEnd = Array("IKCFG_ED".utf8)
  private static let deviceID = Array("LNRO0005".utf8)
  private static let deviceParameter = Array("virtio_mmio.device".utf8)
  private static let longestNeedle = 32
  private static let bannerLimit = 512

  /// Reads a kernel once. Blocking.
  ///
  /// - Parameter path: the ELF file.
  init(path: String) throws(ImageError) {
    let source = try FileByteSource(path: path)
    let size = source.remaining
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { buffer.deallocate() }
    var kept = 0
    var offset: Int64 = 0
    var configurationOffset: Int64?
    while true {
      let count = try source.readFully(into: UnsafeMutableRawBufferPointer(rebasing: buffer[kept...]))
      let piece = UnsafeRawBufferPointer(rebasing: buffer[..<(kept + count)])
      if version == nil, let found = find(Self.banner, in: piece, where: { $0 >= 0x31 && $0 <= 0x39 }) {
        try readBanner(path, at: offset + Int64(found), size: size)
      }
      if let start = configurationOffset {
        if configuration == nil, let end = find(Self.configurationEnd, in: piece) {
          configuration = try Self.configuration(path, from: start, to: offset + Int64(end))
        }
      } else if let start = find(Self.configurationStart, in: piece, where: { $0 == 0x1f }) {
        configurationOffset = offset + Int64(start + Self.configurationStart.count)
        if let end = find(Self.configurationEnd, in: UnsafeRawBufferPointer(rebasing: piece[start...])) {
          let start = offset + Int64(start + Self.configurationStart.count)
          configuration = try Self.configuration(path, from: start, to: start - 8 + Int64(end))
        }
      }
      if !findsDevicesByACPI { findsDevicesByACPI = find(Self.deviceID, in: piece) != nil }
      if !takesDevicesByCommandLine { takesDevicesByCommandLine = find(Self.deviceParameter, in: piece) != nil }
      if kept + count < buffer.count { return }
      // The end stays for the next round: what is looked for may lie across it.
      kept = Self.longestNeedle
      offset += Int64(buffer.count - kept)
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[(buffer.count - kept)...]))
    }
  }

  private mutating func readBanner(_ path: String, at offset: Int64, size: Int64) throws(ImageError) {
    let length = min(Int64(Self.bannerLimit), size - offset)
    let bytes = try FileByteSource(path: path, offset: offset, length: length).readAll(limit: Self.bannerLimit)
    let text = String(decoding: bytes.prefix { $0 != 0 && $0 != 0x0a }, as: UTF8.self)
    let words = text.split(separator: " ")
    guard words.count > 2 else { return }
    version = String(words[2])
    hasSMP = words.contains("SMP")
  }

  private static func configuration(
    _ path: String, from start: Int64, to end: Int64
  ) throws(ImageError) -> KernelConfiguration {
    let packed = try FileByteSource(path: path, offset: start, length: max(0, end - start))
    do throws(ImageError) {
      let text = try GzipByteSource(packed, limit: UInt64(KernelConfiguration.sizeLimit))
        .readAll(limit: KernelConfiguration.sizeLimit)
      return KernelConfiguration(text)
    } catch {
      throw error.of("the configuration within the kernel")
    }
  }

  /// Where the needle is, followed by a byte that will do.
  private func find(
    _ needle: [UInt8], in piece: UnsafeRawBufferPointer, where accepts: ((UInt8) -> Bool)? = nil
  ) -> Int? {
    guard let base = piece.baseAddress, let first = needle.first else { return nil }
    var start = 0
    while start < piece.count, let hit = memchr(base + start, Int32(first), piece.count - start) {
      let position = UnsafeRawPointer(hit) - base
      let end = position + needle.count
      guard end < piece.count else { return nil }
      if memcmp(hit, needle, needle.count) == 0, accepts.map({ $0(piece[end]) }) ?? true { return position }
      start = position + 1
    }
    return nil
  }
}
