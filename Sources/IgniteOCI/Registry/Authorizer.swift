internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1

/// The values of `Authorization` that servers asked for, one a server and scope (distribution specification, token
/// authentication; RFC 7617 for Basic).
actor Authorizer {
  struct Key: Hashable, Sendable {
    let origin: String
    /// What is to be done: `repository:team/app:pull`.
    let scopes: [String]
  }

  /// What goes into the header, and whether credentials stand behind it.
  struct Grant: Sendable {
    let header: String
    let hasCredentials: Bool
    let expires: ContinuousClock.Instant
  }

  private var grants: [Key: Grant] = [:]

  /// What the server has taken before, as long as it is good.
  func known(_ key: Key) -> Grant? {
    guard let grant = grants[key], grant.expires > .now else { return nil }
    return grant
  }

  /// Another grant, after a server's 401.
  ///
  /// - Parameters:
  ///   - refused: the header that was sent.
  ///   - challenges: the values of `WWW-Authenticate`.
  ///   - url: what was asked for.
  /// - Returns: nil where there is nothing that could be shown.
  func renew(
    _ key: Key, refused: String?, challenges: [String], url: URL, endpoint: RegistryEndpoint, repository: String,
    with client: RegistryClient
  ) async throws(OCIError) -> Grant? {
    // Another request may have been here meanwhile.
    if let grant = known(key), grant.header != refused { return grant }
    grants[key] = nil
    let credential = try await client.configuration.credentials.credential(
      host: endpoint.credentials, repository: endpoint.isMirror ? "" : repository)
    let request = TokenRequest(client: client, endpoint: endpoint, registry: url, scopes: key.scopes)
    guard let grant = try await request.grant(challenges, credential), grant.header != refused else { return nil }
    grants[key] = grant
    return grant
  }
}

/// Turns a challenge and a credential into what is sent.
struct TokenRequest: Sendable {
  let client: RegistryClient
  let endpoint: RegistryEndpoint
  /// Where the challenge came from.
  let registry: URL
  let scopes: [String]

  /// The longest token that is taken, in bytes, and the longest time that one is kept.
  private static let longestToken = 64 << 10
  private static let longestLife: Duration = .seconds(3600)

  /// - Returns: nil where the challenge wants a password and there is none.
  func grant(_ challenges: [String], _ credential: RegistryCredential?) async throws(OCIError) -> Authorizer.Grant? {
    let later = ContinuousClock.now + Self.longestLife
    if let challenge = BearerChallenge(challenges) {
      if case .registryToken(let token) = credential {
        return .init(header: "Bearer \(token)", hasCredentials: true, expires: later)
      }
      return try await token(challenge, credential)
    }
    guard case .password(let user, let password) = credential,
      challenges.contains(where: { Self.wantsBasic($0) })
    else { return nil }
    return .init(header: Self.basic(user, password), hasCredentials: true, expires: later)
  }

  private static func wantsBasic(_ header: String) -> Bool {
    header.utf8.count <= 8192 && BearerChallenge.parse(header).contains { $0.scheme.lowercased() == "basic" }
  }

  private static func basic(_ user: String, _ password: String) -> String {
    "Basic \(Data("\(user):\(password)".utf8).base64EncodedString())"
  }

  private func token(
    _ challenge: BearerChallenge, _ credential: RegistryCredential?
  ) async throws(OCIError) -> Authorizer.Grant {
    guard let realm = URL(string: challenge.realm), client.isPermitted(realm, from: registry, of: endpoint) else {
      throw OCIError(
        .badResponse,
        "\(registry.authority) sends for a token to \(OCIError.quoted(challenge.realm)), which is not secure")
    }
    // What the registry itself asks for is right for a pull; for more we know best.
    let wanted = scopes.count == 1 && scopes[0].hasSuffix(":pull") ? [challenge.scope ?? scopes[0]] : scopes
    let request: RegistryClient.Request
    if case .identityToken(let token) = credential {
      request = try refresh(realm, challenge, wanted, token)
    } else {
      request = try query(realm, challenge, wanted, credential)
    }
    let bytes = try await client.retrying { () async throws(OCIError) -> [UInt8] in
      let response = try await client.send(request)
      guard response.status == 200 else {
        throw Self.failure(response, registry: endpoint.name, credential: credential)
      }
      return try await client.body(of: response, limit: 1 << 20, "the token")
    }
    return try Self.read(bytes, from: realm, hasCredentials: credential != nil)
  }

  /// A GET, with Basic credentials where there are some (distribution specification's token authentication).
  private func query(
    _ realm: URL, _ challenge: BearerChallenge, _ scopes: [String], _ credential: RegistryCredential?
  ) throws(OCIError) -> RegistryClient.Request {
    var query = realm.query(percentEncoded: true).map { [$0] } ?? []
    if let service = challenge.service { query.append("service=\(percentEncoded(service))") }
    query += scopes.map { "scope=\(percentEncoded($0))" }
    var authorization: String?
    if case .password(let user, let password) = credential {
      query.append("account=\(percentEncoded(user))")
      authorization = Self.basic(user, password)
    }
    let base = challenge.realm.prefix { $0 != "?" && $0 != "#" }
    guard let url = URL(string: query.isEmpty ? String(base) : "\(base)?\(query.joined(separator: "&"))") else {
      throw OCIError(.badResponse, "\(registry.authority) sends for a token to no valid URL")
    }
    return RegistryClient.Request(
      url: url, registry: endpoint, headers: [("Accept", "application/json")], authorization: authorization)
  }

  /// A POST with an identity token (RFC 6749, section 6, as registries have it).
  private func refresh(
    _ realm: URL, _ challenge: BearerChallenge, _ scopes: [String], _ token: String
  ) throws(OCIError) -> RegistryClient.Request {
    var form = ["grant_type=refresh_token", "client_id=ignite"]
    form.append("service=\(percentEncoded(challenge.service ?? registry.authority))")
    if !scopes.isEmpty { form.append("scope=\(percentEncoded(scopes.joined(separator: " ")))") }
    form.append("refresh_token=\(percentEncoded(token))")
    return RegistryClient.Request(
      method: .POST, url: realm, registry: endpoint,
      headers: [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")],
      body: .bytes(ByteBuffer(string: form.joined(separator: "&"))))
  }

  private static func read(
    _ bytes: [UInt8], from realm: URL, hasCredentials: Bool
  ) throws(OCIError) -> Authorizer.Grant {
    struct Answer: Decodable {
      var token: String?
      var access_token: String?
      var expires_in: Double?
    }
    let answer = try decodeDocument(Answer.self, bytes, "the token from \(realm.authority)")
    guard let token = answer.token ?? answer.access_token, !token.isEmpty, token.utf8.count <= longestToken,
      token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { throw OCIError(.badResponse, "\(realm.authority) gives no usable token") }
    // 60 s is the specification's default; a tenth is kept as a margin.
    let life = answer.expires_in.map { $0.isFinite ? min(max($0, 0), 86400) : 60 } ?? 60
    return .init(
      header: "Bearer \(token)", hasCredentials: hasCredentials,
      expires: .now + min(.seconds(life * 0.9), longestLife))
  }

  private static func failure(
    _ response: RegistryClient.Response, registry: String, credential: RegistryCredential?
  ) -> OCIError {
    let server = response.url.authority
    switch response.status {
    case 400, 401, 403:
      guard credential != nil else {
        return OCIError(
          .denied, "\(server) gives no token without credentials for \(registry)",
          advice: "the image is private or does not exist; log in: ignite login \(registry)")
      }
      return OCIError(
        .denied, "\(server) refuses the credentials for \(registry)", advice: "log in again: ignite login \(registry)")
    case 429, 500...:
      return OCIError(
        .badResponse, "\(server), which gives tokens for \(registry), fails with status \(response.status)",
        advice: "try again later",
        cause: ServerFailure(status: response.status, retryAfter: response.retryAfter))
    default:
      return OCIError(.badResponse, "\(server) answers \(response.status) where a token was asked for")
    }
  }
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
func percentEncoded(_ text: String) -> String {
  var result = ""
  for byte in text.utf8 {
    let letter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
    if letter || (byte >= 48 && byte <= 57) || "-._~".utf8.contains(byte) {
      result.unicodeScalars.append(Unicode.Scalar(byte))
    } else {
      let hex = String(byte, radix: 16, uppercase: true)
      result += byte < 16 ? "%0\(hex)" : "%\(hex)"
    }
  }
  return result
}
