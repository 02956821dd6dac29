internal import AsyncHTTPClient
internal import FoundationEssentials
internal import NIOHTTP1

extension RegistryClient {
  /// Asks a registry whether it takes a user's password, before anybody relies on it.
  ///
  /// - Parameter registry: as references spell it.
  /// - Throws: `denied` where it does not.
  public func verify(user: String, password: String, registry: String) async throws(OCIError) {
    let credential = RegistryCredential.password(user: user, password: password)
    guard credential.isUsable else {
      throw OCIError(
        .denied, "the user name or the password cannot be sent",
        advice: "neither may be empty or have control characters, and no colon is in a user's name")
    }
    let endpoint = try await endpoint(of: registry)
    let request = Request(url: endpoint.base, registry: endpoint)
    let first = try await retrying { () async throws(OCIError) in try await self.answer(request, endpoint) }
    guard first.status == 401 else {
      // A registry that wants nothing has nothing against it.
      guard (200..<300).contains(first.status) else { throw Self.strange(first, endpoint) }
      return
    }
    let asking = TokenRequest(client: self, endpoint: endpoint, registry: endpoint.base, scopes: [])
    let grant = try await asking.grant(first.http.headers["WWW-Authenticate"], credential)
    guard let grant else {
      throw OCIError(
        .denied, "\(registry) asks for credentials in no way that is known", advice: "it has to ask for Basic or Bearer"
      )
    }
    let authorized = Request(url: endpoint.base, registry: endpoint, authorization: grant.header)
    let second = try await retrying { () async throws(OCIError) in try await self.answer(authorized, endpoint) }
    switch second.status {
    case 200..<300: return
    case 401, 403:
      throw OCIError(
        .denied, "\(registry) refuses the user name or the password",
        advice: "check both; many want a token as the password")
    default: throw Self.strange(second, endpoint)
    }
  }

  private func answer(_ request: Request, _ endpoint: RegistryEndpoint) async throws(OCIError) -> Response {
    let response = try await send(request)
    if response.status == 429 || response.status >= 500 {
      throw OCIError(
        .badResponse, "\(endpoint.name) fails with status \(response.status)", advice: "try again later",
        cause: ServerFailure(status: response.status, retryAfter: response.retryAfter))
    }
    return response
  }

  private static func strange(_ response: Response, _ endpoint: RegistryEndpoint) -> OCIError {
    OCIError(
      .badResponse, "\(endpoint.name) answers with status \(response.status)",
      advice: "check that a registry listens there")
  }

  /// A registry as users write it for `login`: without scheme and path, Docker's by any of its names.
  ///
  /// - Returns: the registry, and with what follows it, the key that the credentials get.
  public static func loginKey(_ text: String) throws(OCIError) -> (registry: String, key: String) {
    var key = text
    for scheme in ["https://", "http://"] where key.hasPrefix(scheme) {
      // With a scheme it is an address, whose path names the API.
      key = String(key.dropFirst(scheme.count).prefix { $0 != "/" })
    }
    while key.hasSuffix("/") { key.removeLast() }
    let registry = key.prefix { $0 != "/" }
    if let why = ReferenceGrammar.problem(registry: String(registry)) {
      throw OCIError(
        .invalidReference, "'\(OCIError.quoted(text))' is no registry: \(why)", advice: "write HOST or HOST:PORT")
    }
    let path = String(key.dropFirst(registry.count + 1))
    if !path.isEmpty, let why = ReferenceGrammar.problem(repository: path) {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(text))' is no registry: \(why)")
    }
    var name = String(registry)
    if name == "index.docker.io" || name == "registry-1.docker.io" { name = "docker.io" }
    return (name, path.isEmpty ? name : "\(name)/\(path)")
  }
}
