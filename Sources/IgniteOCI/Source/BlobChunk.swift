internal import NIOCore

/// Some bytes of a blob.
public struct BlobChunk: Sendable {
  let buffer: ByteBuffer

  init(_ buffer: ByteBuffer) { self.buffer = buffer }

  public init(_ bytes: some Sequence<UInt8> & Sendable) { buffer = ByteBuffer(bytes: bytes) }

  /// How many bytes there are.
  public var count: Int { buffer.readableBytes }

  /// Calls `body` with the bytes, which are valid during the call only.
  public func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let result: Swift.Result<Result, Failure> = buffer.withUnsafeReadableBytes { bytes in
      do throws(Failure) {
        return .success(try body(bytes))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }
}
