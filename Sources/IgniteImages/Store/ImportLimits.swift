/// What an image may cost this machine; beyond it an import ends with `limitExceeded`.
///
/// The defaults are far above any image that is in use, and low enough that a hostile one is told before it has taken the
/// machine's time, memory or disk.
public struct ImportLimits: Sendable, Hashable, Codable {
  /// Bytes of one layer when it is unpacked.
  public var layerBytes: UInt64 = 64 << 30
  /// How many times as large as it is stored a layer may become, once it has more than `expansionFrom` bytes. Gzip alone
  /// cannot pack tighter than 1032 times, and real files hardly come to 100.
  public var expansion: UInt64 = 400
  /// So many unpacked bytes are free of the limit on expansion: files of zeros are nothing uncommon.
  public var expansionFrom: UInt64 = 4 << 30
  /// Bytes of the base disk, replaced files included.
  public var diskBytes: UInt64 = 256 << 30
  /// Files and directories of the base disk; each takes about 200 bytes of memory during the import.
  public var files: UInt32 = 2_000_000
  /// What a layer's archive may hold.
  public var archive = TarLimits()

  public init() {}

  /// For an image that an import has let through, under whatever limits.
  static var alreadyPassed: ImportLimits {
    var limits = ImportLimits()
    limits.files = .max / 2
    limits.diskBytes = .max
    limits.archive.fileBytes = .max
    return limits
  }
}

/// An unpacked stream that is an error once it is beyond what an import allows.
final class ExpansionGuard: ByteSource {
  private let unpacked: any ByteSource
  private let packed: CountedByteSource
  private let limits: ImportLimits
  private var count: UInt64 = 0

  /// - Parameters:
  ///   - unpacked: the stream to be guarded.
  ///   - packed: the stream that it is made from.
  init(_ unpacked: any ByteSource, from packed: CountedByteSource, limits: ImportLimits) {
    self.unpacked = unpacked
    self.packed = packed
    self.limits = limits
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let got = try unpacked.read(into: buffer)
    count += UInt64(got)
    guard count <= limits.layerBytes else {
      throw ImageError(
        .limitExceeded, "the layer unpacks to more than \(limits.layerBytes) bytes, the most that a layer may have",
        advice: "raise images.limits.layerSize in the configuration if you trust the image")
    }
    if count > limits.expansionFrom, count / limits.expansion > packed.count {
      throw ImageError(
        .limitExceeded,
        "the layer's first \(packed.count) bytes unpack to \(count), more than \(limits.expansion) times as many: a bomb",
        advice: "raise images.limits.expansion in the configuration if you trust the image")
    }
    return got
  }
}

/// A stream whose bytes are counted.
final class CountedByteSource: ByteSource {
  private let source: any ByteSource
  private(set) var count: UInt64 = 0

  init(_ source: any ByteSource) { self.source = source }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let got = try source.read(into: buffer)
    count += UInt64(got)
    return got
  }
}
