internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// One blob on its way into a registry.
struct BlobUpload: Sendable {
  let push: RegistryPush
  let access: RegistryAccess
  let blob: Descriptor
  let open: RegistryPush.Opening
  let progress: @Sendable (RegistryPush.Progress) -> Void

  /// Sends the blob unless it is there, or the registry can take it from a repository of its own.
  ///
  /// Each try begins a new upload: what became of one that broke is not known.
  func run() async throws(OCIError) -> RegistryPush.Outcome {
    try await access.client.retrying { () async throws(OCIError) -> RegistryPush.Outcome in
      if Task.isCancelled { throw .cancelled }
      if try await isPresent() { return .present }
      guard let location = try await begin() else { return .mounted }
      try await send(to: location)
      return .sent
    }
  }

  private func isPresent() async throws(OCIError) -> Bool {
    let path = "blobs/\(blob.digest)"
    let answer = try await access.perform(.HEAD, try access.url(path))
    switch answer.status {
    case 200..<300: return true
    case 404: return false
    default: throw await push.failure(answer, path, access)
    }
  }

  /// Opens an upload; nil where the blob was mounted instead (Mounting a blob from another repository).
  private func begin() async throws(OCIError) -> URL? {
    let path = "blobs/uploads/"
    let mount = push.mounts.first.map { "?mount=\(percentEncoded(blob.digest.description))&from=\(percentEncoded($0))" }
    var answer = try await access.perform(.POST, try access.url(path + (mount ?? "")))
    // A registry that must not look into the other repository may refuse the whole.
    if mount != nil, [400, 401, 403, 404].contains(answer.status) {
      answer = try await access.perform(.POST, try access.url(path))
    }
    switch answer.status {
    case 201 where mount != nil: return nil
    case 202: break
    default: throw await push.failure(answer, path, access)
    }
    let base = answer.response.url
    guard let location = answer.header("Location"), location.utf8.count <= 8192,
      let url = URL(string: location, relativeTo: base)?.absoluteURL
    else { throw OCIError(.badResponse, "\(access.endpoint.name) opens an upload without saying where") }
    guard access.client.isPermitted(url, from: base, of: access.endpoint) else {
      throw OCIError(
        .badResponse, "\(access.endpoint.name) wants the blob at \(OCIError.quoted(url.origin)), which is not secure")
    }
    let joint = url.query(percentEncoded: true) == nil ? "?" : "&"
    guard let target = URL(string: "\(url.absoluteString)\(joint)digest=\(percentEncoded(blob.digest.description))")
    else { throw OCIError(.badResponse, "\(access.endpoint.name) opens an upload at no valid URL") }
    return target
  }

  /// The blob in one request (Pushing a blob monolithically, POST then PUT).
  private func send(to url: URL) async throws(OCIError) {
    let source = UploadFailure()
    let answer: RegistryAccess.Answer
    do throws(OCIError) {
      answer = try await access.perform(
        .PUT, url, headers: [("Content-Type", "application/octet-stream")]
      ) { () async throws(OCIError) in
        let reader = try await open(blob)
        return .stream(
          UploadedBlob(reader: reader, blob: blob, failure: source, server: url.authority, client: access.client) {
            progress(.sending(blob, done: $0))
          }, length: .known(blob.size))
      }
    } catch {
      // What stopped the sending is the reason, whatever the connection's end looks like.
      throw await source.error ?? error
    }
    guard (200..<300).contains(answer.status) else { throw await push.failure(answer, "blobs/uploads/", access) }
    if let stated = answer.header("Docker-Content-Digest"), stated.hasPrefix("sha256:"), Digest(stated) != blob.digest {
      throw OCIError(.digestMismatch, "\(access.endpoint.name) stored it with another digest")
    }
  }
}

/// Why a blob could not be read on.
private actor UploadFailure {
  private(set) var error: OCIError?
  func set(_ error: OCIError) { self.error = error }
}

/// A blob's bytes as a request's body; exactly as many as its descriptor says, or an error.
private struct UploadedBlob: AsyncSequence, Sendable {
  typealias Element = ByteBuffer

  let reader: any BlobReader
  let blob: Descriptor
  let failure: UploadFailure
  let server: String
  let client: RegistryClient
  let progress: @Sendable (Int64) -> Void

  func makeAsyncIterator() -> Iterator { Iterator(body: self, meter: RateMeter(client.configuration)) }

  struct Iterator: AsyncIteratorProtocol {
    let body: UploadedBlob
    var meter: RateMeter
    var sent: Int64 = 0
    /// Of the last piece that was handed over, and when: until the next is asked for the network is at work.
    var last = 0
    var handed: ContinuousClock.Instant?

    mutating func next() async throws -> ByteBuffer? {
      do throws(OCIError) {
        if let handed, !meter.isFastEnough(last, after: handed.duration(to: .now)) {
          throw meter.failure(body.server)
        }
        guard let chunk = try await body.reader.next() else {
          guard sent == body.blob.size else { throw wrongSize }
          return nil
        }
        sent += Int64(chunk.count)
        guard sent <= body.blob.size else { throw wrongSize }
        body.progress(sent)
        last = chunk.count
        handed = .now
        return chunk.buffer
      } catch {
        await body.failure.set(error)
        throw error
      }
    }

    private var wrongSize: OCIError {
      OCIError(
        .sizeMismatch, "there are other than the \(body.blob.size) bytes of its descriptor",
        advice: "the blob here is damaged: import the image again")
    }
  }
}
