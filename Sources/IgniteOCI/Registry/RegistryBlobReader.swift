internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

/// A blob as it arrives from a registry. A connection that is lost on the way is taken up where it broke, by a range
/// request (distribution specification, Pulling blobs).
actor RegistryBlobReader: BlobReader {
  private let source: RegistrySource
  private let client: RegistryClient
  private let descriptor: Descriptor
  private var body: BodyStream?
  private var offset: Int64 = 0
  /// Failures since the last byte that arrived.
  private var failures = 0

  init(source: RegistrySource, client: RegistryClient, descriptor: Descriptor) {
    self.source = source
    self.client = client
    self.descriptor = descriptor
  }

  /// Opens the transfer at the offset that is reached.
  func connect() async throws(OCIError) {
    body = nil
    let start = offset
    let headers = start > 0 ? [("Range", "bytes=\(start)-")] : []
    let path = "blobs/\(descriptor.digest)"
    let response = try await client.retrying { () async throws(OCIError) in
      try await source.get(path, headers: headers)
    }
    var skip: Int64 = 0
    if start > 0 {
      if response.status == 206 {
        let range = response.http.headers.first(name: "Content-Range") ?? ""
        guard range.hasPrefix("bytes \(start)-") else {
          throw OCIError(.badResponse, "\(response.url.authority) sends another part of the blob than was asked for")
        }
      } else {
        // The server knows no ranges: what is here already comes again.
        skip = start
      }
    }
    if let length = response.contentLength, length != descriptor.size - (start - skip) {
      throw Self.wrongSize(length + (start - skip), descriptor)
    }
    body = BodyStream(response.http.body, server: response.url.authority, skip: skip)
  }

  func next() async throws(OCIError) -> BlobChunk? {
    while true {
      do throws(OCIError) {
        if body == nil { try await connect() }
        guard let buffer = try await body?.next(silence: client.configuration.idleTimeout) else {
          guard offset == descriptor.size else { throw Self.wrongSize(offset, descriptor) }
          return nil
        }
        let (total, overflow) = offset.addingReportingOverflow(Int64(buffer.readableBytes))
        guard !overflow, total <= descriptor.size else { throw Self.wrongSize(.max, descriptor) }
        offset = total
        failures = 0
        return BlobChunk(buffer)
      } catch {
        body = nil
        failures += 1
        let resumable = error.code == .unreachable || (error.code == .timedOut && failures == 1 && offset > 0)
        guard resumable, failures < client.configuration.tries else { throw error }
      }
      try await client.rest(client.configuration.backoff * failures)
    }
  }

  private static func wrongSize(_ size: Int64, _ descriptor: Descriptor) -> OCIError {
    let message =
      size < descriptor.size
      ? "the data ends \(descriptor.size - size) bytes early"
      : "there is more data than the \(descriptor.size) bytes of its descriptor"
    return OCIError(.sizeMismatch, message, advice: "the registry or its cache is damaged: push the image again")
  }
}

/// A response's body.
///
/// `@unchecked`: the iterator is used by one call at a time, as `BlobReader` asks of those who read.
private final class BodyStream: @unchecked Sendable {
  private var iterator: HTTPClientResponse.Body.AsyncIterator
  private let server: String
  private var skip: Int64

  init(_ body: HTTPClientResponse.Body, server: String, skip: Int64) {
    iterator = body.makeAsyncIterator()
    self.server = server
    self.skip = skip
  }

  func next(silence: Duration) async throws(OCIError) -> ByteBuffer? {
    while true {
      guard !Task.isCancelled else { throw .cancelled }
      var buffer: ByteBuffer
      do {
        guard let next = try await iterator.next() else { return nil }
        buffer = next
      } catch {
        throw OCIError(transport: error, server: server, silence: silence)
      }
      let skipped = Int(min(skip, Int64(buffer.readableBytes)))
      buffer.moveReaderIndex(forwardBy: skipped)
      skip -= Int64(skipped)
      if buffer.readableBytes > 0 { return buffer }
    }
  }
}
