internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// Brings an image to a registry: its blobs, then its manifest, byte for byte (OCI distribution specification 1.1, Push).
public struct RegistryPush: Sendable {
  /// What a push is doing; events of different blobs interleave.
  public enum Progress: Sendable, Hashable {
    case sending(Descriptor, done: Int64)
    case blob(Descriptor, Outcome)
    case manifest(Digest)
  }

  /// How a blob came to be in the registry.
  public enum Outcome: Sendable, Hashable {
    case sent
    /// It was there.
    case present
    /// The registry took it from another of its repositories.
    case mounted
  }

  /// Gives a blob's content; called again for each new try.
  public typealias Opening = @Sendable (Descriptor) async throws(OCIError) -> any BlobReader

  /// Blobs that are sent at once.
  private static let transfers = 3

  let destination: Reference
  let client: RegistryClient
  /// Repositories of the same registry that may have the blobs.
  let mounts: [String]

  /// - Parameters:
  ///   - destination: a tag to set, or a digest that the manifest must have; both are possible.
  ///   - origins: where the image came from; those of the same registry are asked for its blobs.
  public init(to destination: Reference, from origins: [Reference] = [], client: RegistryClient = .shared) {
    self.destination = destination
    self.client = client
    var mounts: [String] = []
    for origin in origins
    where origin.registry == destination.registry && origin.repository != destination.repository {
      if !mounts.contains(origin.repository) { mounts.append(origin.repository) }
    }
    self.mounts = Array(mounts.prefix(1))
  }

  /// Pushes an image of one platform.
  ///
  /// What is at the destination already is not sent again; what fails in a way that passes is tried again. The manifest
  /// goes last, so that nobody ever finds an image without its blobs.
  ///
  /// - Parameters:
  ///   - manifest: its bytes, which are sent as they are.
  ///   - progress: called from any thread; must not block.
  /// - Returns: the manifest's digest, by which it can be had.
  /// - Throws: `unsupported` for an index and for layers that are kept elsewhere.
  @discardableResult
  public func push(
    manifest bytes: [UInt8], open: @escaping Opening, progress: @escaping @Sendable (Progress) -> Void = { _ in }
  ) async throws(OCIError) -> Digest {
    let digest = Digest.sha256(of: bytes)
    guard case .manifest(let manifest, let mediaType) = try ManifestDocument(bytes, declared: nil) else {
      throw OCIError(.unsupported, "an index cannot be pushed", advice: "push the image of one platform")
    }
    if let wanted = destination.digest, wanted != digest {
      throw OCIError(
        .digestMismatch, "\(destination) names another image: this one's manifest is \(digest)",
        advice: "push it by a tag, or as \(destination.name)@\(digest)")
    }
    var blobs: [Descriptor] = []
    for blob in manifest.layers + [manifest.config] where !blobs.contains(where: { $0.digest == blob.digest }) {
      guard blob.urls.isEmpty, !MediaType.isNondistributable(blob.mediaType) else {
        throw OCIError(.unsupported, "the layer \(blob.digest.short) is kept elsewhere than in a registry")
      }
      blobs.append(blob)
    }
    let scopes = ["repository:\(destination.repository):pull,push"] + mounts.map { "repository:\($0):pull" }
    let access = RegistryAccess(
      client, try await client.endpoint(of: destination.registry), repository: destination.repository, scopes: scopes)
    try await send(blobs, access, open, progress)
    try await put(bytes, digest, mediaType, access)
    progress(.manifest(digest))
    return digest
  }

  private func send(
    _ blobs: [Descriptor], _ access: RegistryAccess, _ open: @escaping Opening,
    _ progress: @escaping @Sendable (Progress) -> Void
  ) async throws(OCIError) {
    let failure: OCIError? = await withTaskGroup(of: OCIError?.self) { group in
      var waiting = blobs[...]
      func startNext() {
        guard let blob = waiting.popFirst() else { return }
        let upload = BlobUpload(push: self, access: access, blob: blob, open: open, progress: progress)
        group.addTask {
          do throws(OCIError) {
            progress(.blob(blob, try await upload.run()))
            return nil
          } catch {
            return error.prefixed("blob \(blob.digest.short) of \(destination)")
          }
        }
      }
      for _ in 0..<Self.transfers { startNext() }
      var failure: OCIError?
      for await error in group {
        if let error {
          // Those that are cancelled for its sake say nothing of why.
          if failure == nil || failure?.code == .cancelled { failure = error }
          waiting = []
          group.cancelAll()
        } else {
          startNext()
        }
      }
      return failure
    }
    if let failure { throw failure }
  }

  private func put(
    _ bytes: [UInt8], _ digest: Digest, _ mediaType: String, _ access: RegistryAccess
  ) async throws(OCIError) {
    let path = "manifests/\(destination.tag ?? digest.description)"
    try await client.retrying { () async throws(OCIError) in
      let answer = try await access.perform(.PUT, try access.url(path), headers: [("Content-Type", mediaType)]) {
        () throws(OCIError) in .bytes(ByteBuffer(bytes: bytes))
      }
      guard (200..<300).contains(answer.status) else { throw await failure(answer, path, access) }
      if let stated = answer.header("Docker-Content-Digest"), stated.hasPrefix("sha256:"), Digest(stated) != digest {
        throw OCIError(
          .digestMismatch, "\(access.endpoint.name) stored the manifest of \(destination) with another digest",
          advice: "the registry changes what it is given: nobody will find the image by \(digest.short)")
      }
    }
  }

  /// What a refusal means to somebody who pushes.
  func failure(_ answer: RegistryAccess.Answer, _ path: String, _ access: RegistryAccess) async -> OCIError {
    let error = await access.failure(answer, path, of: destination)
    switch answer.status {
    case 401 where !answer.hadCredentials, 403 where !answer.hadCredentials:
      return OCIError(.denied, error.message, advice: "log in: ignite login \(access.endpoint.credentials)")
    case 404, 405:
      return OCIError(
        .denied, "\(access.endpoint.name) takes no images for \(access.repository) (status \(answer.status))",
        advice: "check the name; a mirror or a read-only registry cannot be pushed to")
    case 413:
      return OCIError(
        .limitExceeded, "\(access.endpoint.name) finds it too large",
        advice: "raise the limit of the registry, or of the proxy before it")
    default: return error
    }
  }
}
