internal import IgniteOCI

/// Passes a stream through and takes its sha256 on the way.
final class HashedByteSource: ByteSource {
  private let source: any ByteSource
  private var hasher = DigestHasher()

  init(_ source: any ByteSource) { self.source = source }

  /// The digest of what went through; drain the source before, since an archive may end ahead of its stream.
  var digest: Digest { hasher.finalize() }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    let count = try source.read(into: buffer)
    if count > 0 { hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
    return count
  }
}
