internal import AsyncHTTPClient
internal import NIOCore

/// A response's body, piece by piece; one that trickles is an error.
///
/// `@unchecked`: the iterator is used by one call at a time, as `BlobReader` asks of those who read.
final class BodyStream: @unchecked Sendable {
  private var iterator: HTTPClientResponse.Body.AsyncIterator
  private let server: String
  private let silence: Duration
  private var skip: Int64
  private var meter: RateMeter

  /// - Parameter skip: bytes at the start that nobody wants.
  init(
    _ body: HTTPClientResponse.Body, server: String, _ configuration: RegistryClient.Configuration, skip: Int64 = 0
  ) {
    iterator = body.makeAsyncIterator()
    self.server = server
    silence = configuration.idleTimeout
    self.skip = skip
    meter = RateMeter(configuration)
  }

  func next() async throws(OCIError) -> ByteBuffer? {
    while true {
      guard !Task.isCancelled else { throw .cancelled }
      let asked = ContinuousClock.now
      var buffer: ByteBuffer
      do {
        guard let next = try await iterator.next() else { return nil }
        buffer = next
      } catch {
        throw OCIError(transport: error, server: server, silence: silence)
      }
      guard meter.isFastEnough(buffer.readableBytes, after: asked.duration(to: .now)) else {
        throw meter.failure(server)
      }
      let skipped = Int(min(skip, Int64(buffer.readableBytes)))
      buffer.moveReaderIndex(forwardBy: skipped)
      skip -= Int64(skipped)
      if buffer.readableBytes > 0 { return buffer }
    }
  }
}
