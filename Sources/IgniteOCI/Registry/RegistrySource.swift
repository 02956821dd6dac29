internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOHTTP1

/// An image in a registry (OCI distribution specification 1.1, Pull), read anonymously.
public struct RegistrySource: ImageSource {
  public let reference: Reference
  private let client: RegistryClient

  public init(_ reference: Reference, client: RegistryClient = .shared) {
    self.reference = reference
    self.client = client
  }

  public var name: String { reference.description }

  public func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    let (bytes, type) = try await manifest(reference.digest?.description ?? reference.tag ?? "latest")
    let digest = Digest.sha256(of: bytes)
    if let wanted = reference.digest {
      guard wanted.algorithm == .sha256 else { throw .unsupportedAlgorithm(wanted) }
      guard wanted == digest else {
        throw OCIError(
          .digestMismatch, "the manifest of \(reference) has the digest \(digest.short)",
          advice: "the registry or its cache is damaged: push the image again")
      }
    }
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

  public func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    let reader = RegistryBlobReader(source: self, client: client, descriptor: descriptor)
    try await reader.connect()
    return reader
  }

  /// Fetches a manifest or an index by tag or digest.
  private func manifest(_ what: String) async throws(OCIError) -> (bytes: [UInt8], mediaType: String?) {
    let accept = ("Accept", MediaType.acceptedManifests.joined(separator: ", "))
    return try await client.retrying { () async throws(OCIError) in
      let response = try await self.get("manifests/\(what)", headers: [accept])
      let bytes = try await client.body(of: response, limit: Limits.manifestSize, "the manifest")
      if let stated = response.http.headers.first(name: "Docker-Content-Digest"), stated.hasPrefix("sha256:"),
        Digest(stated) != Digest.sha256(of: bytes)
      {
        throw OCIError(
          .digestMismatch, "the manifest of \(reference) does not have the digest that \(reference.registry) states",
          advice: "the registry or its cache is damaged: push the image again")
      }
      let type = response.http.headers.first(name: "Content-Type").map { header in
        String(header.prefix { $0 != ";" }.filter { $0 != " " })
      }
      return (bytes, type)
    }
  }

  /// A GET below the repository; an answer other than success is an error.
  ///
  /// Sends the token that is known, and gets one when the registry asks for it.
  func get(_ path: String, headers: [(String, String)] = []) async throws(OCIError) -> RegistryClient.Response {
    let endpoint = try RegistryEndpoint(registry: reference.registry)
    let url = try endpoint.url("\(reference.repository)/\(path)")
    let key = TokenCache.Key(origin: url.origin, repository: reference.repository)
    var token = await client.tokens.token(key)
    var asked = false
    while true {
      let response = try await client.get(url, headers: headers, authorization: token.map { "Bearer \($0)" })
      if (200..<300).contains(response.status) { return response }
      if response.status == 401, response.sameServer, !asked,
        let challenge = BearerChallenge(response.http.headers["WWW-Authenticate"])
      {
        asked = true
        await client.tokens.forget(key)
        token = try await client.tokens.fetch(key, challenge, from: url, with: client)
        continue
      }
      throw await failure(response, path)
    }
  }

  /// What a status other than success means.
  private func failure(_ response: RegistryClient.Response, _ path: String) async -> OCIError {
    let registry = response.sameServer ? reference.registry : response.url.authority
    let body = (try? await client.body(of: response, limit: 64 << 10, "the answer")) ?? []
    let said = ErrorBody.summary(body)
    let tail = said.map { ": \($0.text)" } ?? ""
    switch response.status {
    case 404 where path.hasPrefix("blobs/"):
      return OCIError(
        .notFound, "\(registry) lacks the blob \(path.dropFirst(6))",
        advice: "the registry is damaged: push the image again")
    case 404 where said?.code == "NAME_UNKNOWN":
      return OCIError(
        .notFound, "\(reference) is not there: \(registry) has no repository \(reference.repository)",
        advice: "check the name")
    case 404:
      let what = reference.digest.map { "no manifest \($0.short)" } ?? "no tag \(reference.tag ?? "latest")"
      return OCIError(
        .notFound, "\(reference) is not there: \(registry) knows \(what) of \(reference.repository)",
        advice: "check the name and the tag")
    case 401, 403:
      return OCIError(
        .denied, "\(registry) refuses access to \(reference.repository)\(tail)",
        advice: "the image is private or does not exist; logging in is not yet supported")
    case 429:
      return OCIError(.denied, "\(registry) refuses further requests for now\(tail)", advice: "try again later")
    case 500...:
      return OCIError(
        .badResponse, "\(registry) fails with status \(response.status)\(tail)",
        advice: "try again later, or look at the registry's log", cause: ServerFailure(status: response.status))
    default:
      return OCIError(
        .badResponse, "\(registry) answers with status \(response.status)\(tail)",
        advice: "check that a registry listens there")
    }
  }
}

/// A registry's words on a failure (distribution specification, Error Codes).
private struct ErrorBody: Decodable {
  struct Entry: Decodable {
    var code: String?
    var message: String?
  }
  var errors: [Entry]?

  static func summary(_ bytes: [UInt8]) -> (code: String?, text: String)? {
    guard let entry = (try? decodeDocument(ErrorBody.self, bytes, ""))?.errors?.first else { return nil }
    guard let text = entry.message ?? entry.code, !text.isEmpty else { return nil }
    return (entry.code, OCIError.quoted(text, limit: 200))
  }
}
