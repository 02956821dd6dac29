internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1

/// A blob as it arrives from a registry. A connection that is lost on the way is taken up where it broke, by a range
/// request (distribution specification, Pulling blobs); where one endpoint gives up, the next goes on.
actor RegistryBlobReader: BlobReader {
  private let source: RegistrySource
  private let client: RegistryClient
  private let descriptor: Descriptor
  private var endpoints: [RegistryEndpoint]
  private var body: BodyStream?
  private var offset: Int64 = 0
  /// Failures since the last that something to speak of arrived after, and the offset of the last one.
  private var failures = 0
  private var failedAt: Int64 = 0

  /// What has to arrive for a failure to be forgotten: who sends a byte and hangs up makes no headway.
  private static let headway: Int64 = 1 << 20

  /// - Parameter endpoints: at least one, in the order to try them.
  init(source: RegistrySource, endpoints: [RegistryEndpoint], descriptor: Descriptor) {
    self.source = source
    client = source.client
    self.endpoints = endpoints
    self.descriptor = descriptor
  }

  /// Opens the transfer at the offset that is reached.
  func connect() async throws(OCIError) {
    while true {
      let endpoint = endpoints[0]
      do throws(OCIError) {
        return try await connect(to: endpoint)
      } catch {
        guard error.code != .cancelled, endpoints.count > 1 else { throw error }
        endpoints.removeFirst()
      }
    }
  }

  private func connect(to endpoint: RegistryEndpoint) async throws(OCIError) {
    body = nil
    let start = offset
    let headers = start > 0 ? [("Range", "bytes=\(start)-")] : []
    let path = "blobs/\(descriptor.digest)"
    let source = source
    let answer = try await source.retrying(at: endpoint) { () async throws(OCIError) in
      try await source.get(path, at: endpoint, headers: headers)
    }
    let response = answer.response
    var skip: Int64 = 0
    if start > 0 {
      if response.status == 206 {
        guard answer.header("Content-Range")?.hasPrefix("bytes \(start)-") == true else {
          throw OCIError(.badResponse, "\(response.url.authority) sends another part of the blob than was asked for")
        }
      } else {
        // The server knows no ranges: what is here already comes again.
        skip = start
      }
    } else if response.status == 206 {
      throw OCIError(.badResponse, "\(response.url.authority) sends a part of the blob where the whole was asked for")
    }
    if let length = response.contentLength, length != descriptor.size - (start - skip) {
      throw Self.wrongSize(length.addingReportingOverflow(start - skip).partialValue, descriptor)
    }
    body = BodyStream(response.http.body, server: response.url.authority, client.configuration, skip: skip)
  }

  func next() async throws(OCIError) -> BlobChunk? {
    while true {
      // Its own tries are behind it when it fails.
      if body == nil { try await connect() }
      let pause: Duration
      do throws(OCIError) {
        guard let buffer = try await body?.next() else {
          guard offset == descriptor.size else { throw Self.wrongSize(offset, descriptor) }
          return nil
        }
        let (total, overflow) = offset.addingReportingOverflow(Int64(buffer.readableBytes))
        guard !overflow, total <= descriptor.size else { throw Self.wrongSize(.max, descriptor) }
        offset = total
        return BlobChunk(buffer)
      } catch {
        pause = try recover(from: error)
      }
      try await client.rest(pause)
    }
  }

  /// Decides what to do about a failed transfer: the pause before it is taken up again, or the error.
  private func recover(from error: OCIError) throws(OCIError) -> Duration {
    body = nil
    if offset - failedAt >= Self.headway { failures = 0 }
    failures += 1
    failedAt = offset
    guard error.code != .cancelled else { throw error }
    // Once is no rule: another connection may well be faster, or lead to another machine.
    let resumable = error.isTransient || (error.code == .timedOut && failures == 1 && offset > 0)
    if resumable, failures < client.configuration.tries {
      return try RegistryClient.pause(after: error, tried: failures, client.configuration)
    }
    let faulty: Set<OCIError.Code> = [.unreachable, .timedOut, .tls, .badResponse, .denied, .sizeMismatch]
    guard endpoints.count > 1, faulty.contains(error.code), offset < descriptor.size else { throw error }
    endpoints.removeFirst()
    failures = 0
    return .zero
  }

  private static func wrongSize(_ size: Int64, _ descriptor: Descriptor) -> OCIError {
    let message =
      size < descriptor.size
      ? "the data ends \(descriptor.size - size) bytes early"
      : "there is more data than the \(descriptor.size) bytes of its descriptor"
    return OCIError(.sizeMismatch, message, advice: "the registry or its cache is damaged: push the image again")
  }
}
