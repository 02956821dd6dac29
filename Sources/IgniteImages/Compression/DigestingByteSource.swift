/// A digest that is fed piece by piece, such as SHA-256; lets this code do without a cryptography library of its own.
public protocol StreamingDigest {
  /// Takes the next bytes of the stream.
  mutating func update(bufferPointer: UnsafeRawBufferPointer)
  /// The digest of all bytes so far; called once, at the end.
  mutating func finish() -> [UInt8]
}

/// Passes a stream through and digests it on the way, as the check of a layer's diff ID needs it.
public final class DigestingByteSource: ByteSource {
  private let source: any ByteSource
  private var digest: any StreamingDigest
  /// The number of bytes that went through.
  public private(set) var count: UInt64 = 0
  private var result: [UInt8]?

  public init(_ source: any ByteSource, digest: any StreamingDigest) {
    self.source = source
    self.digest = digest
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let count = try source.read(into: buffer)
    if count > 0 {
      digest.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      self.count += UInt64(count)
    }
    return count
  }

  /// The digest of what went through; drain the source before, since an archive may end ahead of its stream.
  public func finish() -> [UInt8] {
    if let result { return result }
    let bytes = digest.finish()
    result = bytes
    return bytes
  }
}
