internal import FoundationEssentials

/// Tokens for anonymous pulls, one a server and repository.
actor TokenCache {
  struct Key: Hashable, Sendable {
    let origin: String
    let repository: String
  }

  private struct Entry {
    let token: String
    let expires: ContinuousClock.Instant
  }

  private var entries: [Key: Entry] = [:]

  /// The longest token that is taken, in bytes, and the longest time that one is kept.
  private static let longestToken = 64 << 10
  private static let longestLife: Duration = .seconds(3600)

  func token(_ key: Key) -> String? {
    guard let entry = entries[key], entry.expires > .now else { return nil }
    return entry.token
  }

  func forget(_ key: Key) { entries[key] = nil }

  /// Asks the server that the challenge names for a token, without credentials.
  func fetch(_ key: Key, _ challenge: BearerChallenge, from registry: URL, with client: RegistryClient)
    async throws(OCIError)
    -> String
  {
    guard let realm = URL(string: challenge.realm), realm.isPermitted(downgradeFrom: registry) else {
      throw OCIError(
        .badResponse,
        "\(registry.authority) sends for a token to \(OCIError.quoted(challenge.realm)), which is not secure")
    }
    let scope = challenge.scope ?? "repository:\(key.repository):pull"
    var query = realm.query(percentEncoded: true).map { "\($0)&" } ?? ""
    if let service = challenge.service { query += "service=\(percentEncoded(service))&" }
    query += "scope=\(percentEncoded(scope))"
    let base = challenge.realm.prefix { $0 != "?" && $0 != "#" }
    guard let url = URL(string: "\(base)?\(query)") else {
      throw OCIError(.badResponse, "\(registry.authority) sends for a token to no valid URL")
    }

    struct Answer: Decodable {
      var token: String?
      var access_token: String?
      var expires_in: Double?
    }
    let bytes = try await client.retrying { () async throws(OCIError) -> [UInt8] in
      let response = try await client.get(url, headers: [("Accept", "application/json")])
      switch response.status {
      case 200: return try await client.body(of: response, limit: 1 << 20, "the token")
      case 401, 403:
        throw OCIError(
          .denied, "\(url.authority) gives no token for an anonymous pull of \(key.repository)",
          advice: "the image is private or does not exist; logging in is not yet supported")
      case 500...:
        throw OCIError(
          .badResponse, "\(url.authority) fails with status \(response.status)",
          advice: "try again later", cause: ServerFailure(status: response.status))
      default: throw OCIError(.badResponse, "\(url.authority) answers \(response.status) where a token was asked for")
      }
    }
    let answer = try decodeDocument(Answer.self, bytes, "the token from \(url.authority)")
    guard let token = answer.token ?? answer.access_token, !token.isEmpty, token.utf8.count <= Self.longestToken,
      token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { throw OCIError(.badResponse, "\(url.authority) gives no usable token") }
    // 60 s is the specification's default; a tenth is kept as a margin.
    let life = answer.expires_in.map { $0.isFinite ? min(max($0, 0), 86400) : 60 } ?? 60
    entries[key] = Entry(token: token, expires: .now + min(.seconds(life * 0.9), Self.longestLife))
    return token
  }
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3).
private func percentEncoded(_ text: String) -> String {
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
