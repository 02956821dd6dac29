internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOHTTP1

/// Requests to one repository at one endpoint, with whatever authorization it asks for.
struct RegistryAccess: Sendable {
  let client: RegistryClient
  let endpoint: RegistryEndpoint
  let repository: String
  /// What the requests are for: `repository:NAME:pull`.
  let scopes: [String]

  init(_ client: RegistryClient, _ endpoint: RegistryEndpoint, repository: String, scopes: [String]? = nil) {
    self.client = client
    self.endpoint = endpoint
    self.repository = repository
    self.scopes = scopes ?? ["repository:\(repository):pull"]
  }

  struct Answer {
    let response: RegistryClient.Response
    /// Whether credentials were shown.
    let hadCredentials: Bool

    var status: Int { response.status }
    func header(_ name: String) -> String? { response.http.headers.first(name: name) }
  }

  /// Below the repository.
  func url(_ path: String) throws(OCIError) -> URL { try endpoint.url("\(repository)/\(path)") }

  /// Makes a request; the answer may be any but a 401 that more than we have was tried for.
  ///
  /// Sends what is known to be asked for, and gets it, once, when the server wants it. To a server other than the
  /// endpoint nothing is shown.
  ///
  /// - Parameter body: makes what is to be sent, anew for each time it is.
  func perform(
    _ method: HTTPMethod, _ url: URL, headers: [(String, String)] = [],
    body: (@Sendable () async throws(OCIError) -> HTTPClientRequest.Body)? = nil
  ) async throws(OCIError) -> Answer {
    var request = RegistryClient.Request(method: method, url: url, registry: endpoint, headers: headers)
    let isOurs = url.origin == endpoint.base.origin
    let key = Authorizer.Key(origin: endpoint.base.origin, scopes: scopes)
    var grant = isOurs ? await client.authorizer.known(key) : nil
    var asked = false
    while true {
      request.authorization = grant?.header
      request.body = try await body?()
      let response = try await client.send(request)
      if response.status == 401, response.sameServer, isOurs, !asked {
        asked = true
        let renewed = try await client.authorizer.renew(
          key, refused: grant?.header, challenges: response.http.headers["WWW-Authenticate"], url: url,
          endpoint: endpoint, repository: repository, with: client)
        if let renewed {
          grant = renewed
          continue
        }
      }
      return Answer(response: response, hadCredentials: grant?.hasCredentials ?? false)
    }
  }

  /// What a status other than success means.
  ///
  /// - Parameters:
  ///   - path: what was asked for, below the repository.
  ///   - reference: for whose sake.
  func failure(_ answer: Answer, _ path: String, of reference: Reference) async -> OCIError {
    let response = answer.response
    let server = response.sameServer ? endpoint.name : response.url.authority
    let body = (try? await client.body(of: response, limit: 64 << 10, "the answer")) ?? []
    let said = ErrorBody.summary(body)
    let tail = said.map { ": \($0.text)" } ?? ""
    switch response.status {
    case 404 where path.hasPrefix("blobs/sha"):
      return OCIError(
        .notFound, "\(server) lacks the blob \(path.dropFirst(6))",
        advice: "the registry is damaged: push the image again")
    case 404 where said?.code == "NAME_UNKNOWN":
      return OCIError(
        .notFound, "\(reference) is not there: \(server) has no repository \(repository)", advice: "check the name")
    case 404:
      let what = reference.digest.map { "no manifest \($0.short)" } ?? "no tag \(reference.tag ?? "latest")"
      return OCIError(
        .notFound, "\(reference) is not there: \(server) knows \(what) of \(repository)",
        advice: "check the name and the tag")
    case 401, 403:
      guard answer.hadCredentials else {
        return OCIError(
          .denied, "\(server) refuses access to \(repository)\(tail)",
          advice: "the image is private or does not exist; log in: ignite login \(endpoint.credentials)")
      }
      return OCIError(
        .denied, "\(server) refuses access to \(repository) with the credentials that are stored for it\(tail)",
        advice: "log in as somebody who may: ignite login \(endpoint.credentials)")
    case 429:
      return OCIError(
        .denied, "\(server) refuses further requests for now\(tail)", advice: "try again later",
        cause: ServerFailure(status: response.status, retryAfter: response.retryAfter))
    case 500...:
      return OCIError(
        .badResponse, "\(server) fails with status \(response.status)\(tail)",
        advice: "try again later, or look at the registry's log",
        cause: ServerFailure(status: response.status, retryAfter: response.retryAfter))
    default:
      return OCIError(
        .badResponse, "\(server) answers with status \(response.status)\(tail)",
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
