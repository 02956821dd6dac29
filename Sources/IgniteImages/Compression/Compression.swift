/// How a layer is packed, told by its first bytes and never by its name or media type.
public enum Compression: String, Sendable, CaseIterable {
  case none, gzip, zstd, xz, bzip2

  /// The number of bytes that `detect` looks at.
  static let magicLength = 6

  /// Tells the packing from the first bytes of a stream; anything unknown counts as not packed.
  public static func detect(_ bytes: some Collection<UInt8>) -> Compression {
    // Skippable frames, which pzstd puts in front: sixteen magics from 0x184D2A50 on.
    if bytes.count >= 4, (bytes.first ?? 0) & 0xf0 == 0x50, bytes.dropFirst().starts(with: [0x2a, 0x4d, 0x18]) {
      return .zstd
    }
    let magics: [(Compression, [UInt8])] = [
      (.gzip, [0x1f, 0x8b]), (.zstd, [0x28, 0xb5, 0x2f, 0xfd]), (.xz, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
      (.bzip2, [0x42, 0x5a, 0x68]),
    ]
    return magics.first { bytes.starts(with: $0.1) }?.0 ?? .none
  }

  /// The stream's unpacked bytes, whatever its packing.
  ///
  /// - Parameters:
  ///   - source: the stream as it is stored, at its first byte.
  ///   - limit: the most bytes that may come out, in bytes.
  /// - Throws: `unsupported` for a packing that this program cannot unpack.
  public static func unpacked(
    _ source: any ByteSource, limit: UInt64 = 128 << 30
  ) throws(ImageError) -> (source: any ByteSource, compression: Compression) {
    let peeked = try PeekedByteSource(source, count: magicLength)
    let compression = detect(peeked.head)
    switch compression {
    case .none: return (LimitedByteSource(peeked, limit: limit), compression)
    case .gzip: return (GzipByteSource(peeked, limit: limit), compression)
    case .zstd: return (try ZstdByteSource(peeked, limit: limit), compression)
    case .xz: return (try XZByteSource(peeked, limit: limit, concatenated: true), compression)
    case .bzip2:
      throw ImageError(
        .unsupported, "the data is packed with bzip2, which is not supported",
        advice: "push the image again with gzip or zstd layers, e.g. skopeo copy --dest-compress-format gzip")
    }
  }
}

/// A stream whose first bytes were looked at and are then read as if nothing had happened.
final class PeekedByteSource: ByteSource {
  private let source: any ByteSource
  private(set) var head: [UInt8]
  private var offset = 0

  init(_ source: any ByteSource, count: Int) throws(ImageError) {
    self.source = source
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
    defer { buffer.deallocate() }
    let got = try source.readFully(into: buffer)
    head = Array(buffer[..<got])
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    if offset == head.count { return try source.read(into: buffer) }
    let count = min(buffer.count, head.count - offset)
    buffer.copyBytes(from: head[offset..<offset + count])
    offset += count
    return count
  }
}

/// A stream that is an error once it gives more than so many bytes.
final class LimitedByteSource: ByteSource {
  private let source: any ByteSource
  private let limit: UInt64
  private var count: UInt64 = 0

  init(_ source: any ByteSource, limit: UInt64) {
    self.source = source
    self.limit = limit
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let got = try source.read(into: buffer)
    count += UInt64(got)
    guard count <= limit else { throw ImageError(.limitExceeded, "the data is longer than \(limit) bytes") }
    return got
  }
}
