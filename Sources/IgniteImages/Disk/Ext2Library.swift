internal import CExt2fs
internal import Glibc

extension ImageError {
  /// A failure of libext2fs.
  static func library(_ what: String, _ code: errcode_t) -> ImageError {
    if code > 0, code < 200 { return .system(what, "the disk", errno: Int32(code)) }
    let words = error_message(code).map { String(cString: $0) } ?? "error \(code)"
    return ImageError(code == EXT2_ET_BLOCK_ALLOC_FAIL ? .noSpace : .io, "cannot \(what): \(words)")
  }
}

/// libext2fs's way to a file, opened before the file has any content.
final class Ext2Channel {
  private var channel: io_channel?

  init(path: String) throws(ImageError) {
    initialize_ext2_error_table()
    let failure = ignite_open_channel(path, &channel)
    guard failure == 0 else { throw .library("open \(path)", failure) }
  }

  deinit { if let channel { ignite_close_channel(channel) } }

  /// Lets a call take the channel over; it says whether it did.
  func hand(_ body: (io_channel?, UnsafeMutablePointer<Int32>) -> errcode_t) -> errcode_t {
    var taken: Int32 = 0
    let failure = body(channel, &taken)
    if taken != 0 { channel = nil }
    return failure
  }
}

/// The 16 bytes by which a file system is known.
public struct DiskUUID: Sendable, Hashable {
  public let bytes: [UInt8]

  /// A UUID that follows from a digest, such as a chain ID (`sha256:` and 64 hexadecimal digits, or any other text), so
  /// that the same layers give the same disk, byte for byte. Version 8 of RFC 9562.
  public init(identity: String) {
    let hex = identity.utf8.reversed().prefix { hexDigit($0) != nil }.reversed()
    var bytes: [UInt8] = []
    if hex.count >= 32 {
      let digits = hex.prefix(32).compactMap { hexDigit($0) }
      for index in 0..<16 { bytes.append(digits[2 * index] << 4 | digits[2 * index + 1]) }
    } else {
      for start in [UInt64(0xcbf2_9ce4_8422_2325), 0x6c62_272e_07bb_0142] {
        // FNV-1a, with two starting values.
        let hash = identity.utf8.reduce(start) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: hash >> shift)) }
      }
    }
    self.init(marked: bytes)
  }

  /// A random UUID.
  public init() {
    var generator = SystemRandomNumberGenerator()
    self.init(marked: (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) })
  }

  private init(marked bytes: [UInt8]) {
    var bytes = bytes
    bytes[6] = bytes[6] & 0x0f | 0x80
    bytes[8] = bytes[8] & 0x3f | 0x80
    self.bytes = bytes
  }

  /// The seed of directory hashes, which follows from the UUID.
  var hashSeed: [UInt32] {
    (0..<4).map { word in (0..<4).reduce(0) { $0 | UInt32(bytes[word * 4 + $1]) << UInt32(8 * $1) } }
  }
}

/// Fills a C array that Swift sees as a tuple.
func fillTuple<Tuple>(_ tuple: inout Tuple, _ bytes: [UInt8]) {
  withUnsafeMutableBytes(of: &tuple) { target in
    for index in target.indices { target[index] = index < bytes.count ? bytes[index] : 0 }
  }
}
