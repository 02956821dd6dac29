internal import FoundationEssentials
internal import NIOHTTP1
internal import Synchronization

/// An image in a registry (OCI distribution specification 1.1, Pull), or in a mirror of it.
public struct RegistrySource: ImageSource {
  public let reference: Reference
  let client: RegistryClient
  private let served = Served()

  public init(_ reference: Reference, client: RegistryClient = .shared) {
    self.reference = reference
    self.client = client
  }

  public var name: String { reference.description }

  public func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    let (bytes, type) = try await manifest(reference.digest?.description ?? reference.tag ?? "latest")
    let digest = Digest.sha256(of: bytes)
    let root = Descriptor(mediaType: type ?? "", digest: digest, size: Int64(bytes.count))
    let resolver = ManifestResolver(platform: platform) { (descriptor: Descriptor) async throws(OCIError) -> [UInt8] in
      try await self.manifest(descriptor.digest.description).bytes
    }
    do throws(OCIError) {
      return try await resolver.resolve(root: root, bytes: bytes)
    } catch {
      throw error.prefixed(reference.description)
    }
  }

  /// The digest that the reference leads to now, by a HEAD: nothing is fetched. nil where the registry does not say.
  public func currentDigest() async throws(OCIError) -> Digest? {
    if let digest = reference.digest { return digest }
    return try await firstOf(try await client.endpoints(of: reference.registry)) {
      (endpoint: RegistryEndpoint) async throws(OCIError) -> Digest? in
      let path = "manifests/\(reference.tag ?? "latest")"
      do throws(OCIError) {
        return try await retrying(at: endpoint) { () async throws(OCIError) -> Digest? in
          try await get(path, at: endpoint, method: .HEAD, headers: Self.accepted)
            .header("Docker-Content-Digest").flatMap { Digest($0) }
        }
      } catch {
        // A registry that knows no HEAD may well know the image.
        guard error.code == .badResponse, !error.isTransient else { throw error }
        return nil
      }
    }
  }

  public func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    var endpoints = try await client.endpoints(of: reference.registry)
    // Where the manifest came from its blobs are, most likely.
    if let first = served.endpoint, let position = endpoints.firstIndex(of: first) {
      endpoints.remove(at: position)
      endpoints.insert(first, at: 0)
    }
    let reader = RegistryBlobReader(source: self, endpoints: endpoints, descriptor: descriptor)
    try await reader.connect()
    return reader
  }

  private static let accepted = [("Accept", MediaType.acceptedManifests.joined(separator: ", "))]

  /// Fetches a manifest or an index by tag or digest; by digest only one that has it.
  private func manifest(_ what: String) async throws(OCIError) -> (bytes: [UInt8], mediaType: String?) {
    try await firstOf(try await client.endpoints(of: reference.registry)) {
      (endpoint: RegistryEndpoint) async throws(OCIError) -> (bytes: [UInt8], mediaType: String?) in
      let found = try await manifest(what, at: endpoint)
      served.endpoint = endpoint
      return found
    }
  }

  private func manifest(
    _ what: String, at endpoint: RegistryEndpoint
  ) async throws(OCIError) -> (bytes: [UInt8], mediaType: String?) {
    try await retrying(at: endpoint) { () async throws(OCIError) -> (bytes: [UInt8], mediaType: String?) in
      let answer = try await get("manifests/\(what)", at: endpoint, headers: Self.accepted)
      let bytes = try await client.body(of: answer.response, limit: Limits.manifestSize, "the manifest")
      let digest = Digest.sha256(of: bytes)
      let damaged = "the registry or its cache is damaged: push the image again"
      if let wanted = Digest(what) {
        guard wanted.algorithm == .sha256 else { throw .unsupportedAlgorithm(wanted) }
        guard wanted == digest else {
          throw OCIError(
            .digestMismatch, "the manifest of \(reference) has the digest \(digest.short)", advice: damaged)
        }
      }
      if let stated = answer.header("Docker-Content-Digest"), stated.hasPrefix("sha256:"), Digest(stated) != digest {
        throw OCIError(
          .digestMismatch, "the manifest of \(reference) does not have the digest that \(endpoint.name) states",
          advice: damaged)
      }
      let type = answer.header("Content-Type").map { header in
        String(header.prefix { $0 != ";" }.filter { $0 != " " })
      }
      return (bytes, type)
    }
  }

  /// A request below the repository; an answer other than success is an error.
  func get(
    _ path: String, at endpoint: RegistryEndpoint, method: HTTPMethod = .GET, headers: [(String, String)] = []
  ) async throws(OCIError) -> RegistryAccess.Answer {
    let access = RegistryAccess(client, endpoint, repository: reference.repository)
    let answer = try await access.perform(method, try access.url(path), headers: headers)
    guard (200..<300).contains(answer.status) else { throw await access.failure(answer, path, of: reference) }
    return answer
  }

  /// Tries again what fails in a way that passes. A mirror that cannot be reached is not waited for: there are others.
  func retrying<Value: Sendable>(
    at endpoint: RegistryEndpoint, _ body: @Sendable () async throws(OCIError) -> Value
  ) async throws(OCIError) -> Value {
    do throws(OCIError) {
      return try await client.retrying(tries: endpoint.isMirror ? 1 : nil, body)
    } catch {
      if endpoint.isMirror, [.unreachable, .timedOut, .tls].contains(error.code) { client.lose(endpoint) }
      throw error
    }
  }

  /// The first endpoint's answer that is none of failure; the registry's own failure, with those of its mirrors.
  private func firstOf<Value>(
    _ endpoints: [RegistryEndpoint], _ body: (RegistryEndpoint) async throws(OCIError) -> Value
  ) async throws(OCIError) -> Value {
    var failures: [String] = []
    for endpoint in endpoints.dropLast() {
      do throws(OCIError) {
        return try await body(endpoint)
      } catch {
        if error.code == .cancelled { throw error }
        failures.append("; its mirror \(endpoint.name): \(OCIError.quoted(error.message, limit: 300))")
      }
    }
    guard let last = endpoints.last else { throw OCIError(.notFound, "\(reference.registry) has no address") }
    do throws(OCIError) {
      return try await body(last)
    } catch {
      guard !failures.isEmpty, error.code != .cancelled else { throw error }
      throw OCIError(
        error.code, error.message + failures.prefix(3).joined(), advice: error.advice, cause: error.cause)
    }
  }

  /// Which endpoint gave the manifest.
  private final class Served: Sendable {
    private let state = Mutex<RegistryEndpoint?>(nil)
    var endpoint: RegistryEndpoint? {
      get { state.withLock { $0 } }
      set { state.withLock { $0 = newValue } }
    }
  }
}
