internal import AsyncHTTPClient
internal import FoundationEssentials
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import Synchronization

/// The connections to registries and what they gave: tokens, and which mirrors serve. One serves a whole process.
///
/// Nothing is opened before the first request. The shared client lives until the process ends; any other one is to be
/// shut down, or shuts down by itself when it is released.
public final class RegistryClient: Sendable {
  public static let shared = RegistryClient()

  public let configuration: Configuration
  let authorizer = Authorizer()
  private let transports: Transports
  private let state = Mutex(State())

  private struct State {
    /// By proxy: it is a matter of a whole HTTP client.
    var clients: [Proxy?: HTTPClient] = [:]
    /// Mirrors that cannot be reached, by their origins.
    var lost: Set<String> = []
    /// Insecure registries that turned out to speak plain HTTP, or HTTPS.
    var schemes: [String: String] = [:]
  }

  public init(configuration: Configuration = Configuration()) {
    self.configuration = configuration
    transports = Transports(configuration)
  }

  deinit {
    for client in state.withLock({ $0.clients }).values { client.shutdown { _ in } }
  }

  /// Closes all connections; later requests open new ones.
  public func shutdown() async {
    let clients = state.withLock { state in
      defer { state.clients = [:] }
      return state.clients
    }
    for client in clients.values { try? await client.shutdown() }
  }

  private func client(by proxy: Proxy?) -> HTTPClient {
    state.withLock { state in
      if let client = state.clients[proxy] { return client }
      let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: httpConfiguration(proxy))
      state.clients[proxy] = client
      return client
    }
  }

  private func httpConfiguration(_ proxy: Proxy?) -> HTTPClient.Configuration {
    var result = HTTPClient.Configuration(
      tlsConfiguration: configuration.tls, redirectConfiguration: .disallow,
      timeout: .init(
        connect: TimeAmount(configuration.connectTimeout), read: TimeAmount(configuration.idleTimeout),
        write: TimeAmount(configuration.idleTimeout)),
      decompression: .disabled)
    result.proxy = proxy?.configuration
    result.httpVersion = .http1Only
    result.dnsOverride = configuration.addresses
    // Failures to connect are told at once; trying again is ours.
    result.connectionPool.retryConnectionEstablishment = false
    return result
  }

  // MARK: Endpoints

  /// Where a registry's images are asked for, in order: its mirrors, then itself.
  func endpoints(of registry: String) async throws(OCIError) -> [RegistryEndpoint] {
    var endpoints: [RegistryEndpoint] = []
    for mirror in configuration.registries.settings(for: [registry.lowercased()])?.mirrors ?? [] {
      let endpoint = try RegistryEndpoint.mirror(mirror, of: registry)
      if !state.withLock({ $0.lost.contains(endpoint.base.origin) }) { endpoints.append(endpoint) }
    }
    return endpoints + [try await endpoint(of: registry)]
  }

  /// The registry itself. An insecure one is asked once, without credentials, whether it speaks HTTPS.
  func endpoint(of registry: String) async throws(OCIError) -> RegistryEndpoint {
    let settings = configuration.registries.settings(for: [registry.lowercased()])
    guard settings?.insecure == true else {
      return try RegistryEndpoint(registry: registry, scheme: RegistryEndpoint.scheme(of: registry, settings))
    }
    if let scheme = state.withLock({ $0.schemes[registry] }) {
      return try RegistryEndpoint(registry: registry, scheme: scheme)
    }
    let secure = try RegistryEndpoint(registry: registry, scheme: "https")
    var scheme = "https"
    do throws(OCIError) {
      _ = try await once(Request(url: secure.base, registry: secure))
    } catch {
      // What cannot be set up says nothing of the registry.
      guard [.tls, .unreachable, .timedOut, .badResponse].contains(error.code) else { throw error }
      scheme = "http"
    }
    let found = scheme
    state.withLock { $0.schemes[registry] = found }
    return try RegistryEndpoint(registry: registry, scheme: scheme)
  }

  /// Remembers that a mirror cannot be reached, so that not every blob waits for it.
  func lose(_ mirror: RegistryEndpoint) { state.withLock { _ = $0.lost.insert(mirror.base.origin) } }

  /// Whether a request for the sake of a registry may go there.
  func isPermitted(_ url: URL, from previous: URL, of registry: RegistryEndpoint) -> Bool {
    let plain =
      configuration.registries.settings(for: url.serverNames)?.insecure == true || url.origin == registry.base.origin
    return url.isPermitted(downgradeFrom: previous, plain: plain)
  }

  // MARK: Requests

  struct Request: Sendable {
    var method: HTTPMethod = .GET
    var url: URL
    /// For whose sake.
    var registry: RegistryEndpoint
    var headers: [(String, String)] = []
    var authorization: String?
    var body: HTTPClientRequest.Body?
  }

  /// One request, without redirects.
  private func once(_ request: Request) async throws(OCIError) -> HTTPClientResponse {
    let url = request.url
    // The TLS library would only say that the handshake failed.
    if url.scheme == "https", let authorities = configuration.authorities, access(authorities, R_OK) != 0 {
      throw OCIError(
        .tls,
        "cannot make a secure connection to \(url.authority): the trusted certificates cannot be read from "
          + authorities, advice: "check SSL_CERT_FILE")
    }
    let transport = try await transports.transport(for: url, of: request.registry)
    var made = HTTPClientRequest(url: url.absoluteString)
    made.method = request.method
    made.tlsConfiguration = transport.tls
    made.headers.add(name: "User-Agent", value: "ignite/\(configuration.version)")
    for (name, value) in request.headers { made.headers.add(name: name, value: value) }
    if let authorization = request.authorization { made.headers.add(name: "Authorization", value: authorization) }
    made.body = request.body
    // The head of an answer has a time, however it trickles; what is sent has its own measure.
    let deadline: NIODeadline =
      request.body == nil
      ? .now() + TimeAmount(configuration.connectTimeout * 2 + configuration.idleTimeout * 2) : .distantFuture
    do {
      return try await client(by: transport.proxy).execute(made, deadline: deadline)
    } catch {
      throw OCIError(
        transport: error, server: url.authority, proxy: transport.proxy?.name, silence: configuration.idleTimeout)
    }
  }

  /// Redirects that are followed for one request.
  private static let redirects = 10

  /// A request that follows redirects by hand, where it sends nothing: credentials stay with the server they are for,
  /// and nothing falls back from HTTPS to HTTP.
  func send(_ request: Request) async throws(OCIError) -> Response {
    var current = request
    for _ in 0...Self.redirects {
      let url = current.url
      let response = try await once(current)
      guard [301, 302, 303, 307, 308].contains(response.status.code) else {
        return Response(http: response, url: url, sameServer: url.origin == request.url.origin)
      }
      guard request.method == .GET || request.method == .HEAD else {
        throw OCIError(
          .badResponse, "\(url.authority) redirects a \(request.method.rawValue), which is not followed",
          advice: "name the registry by the address that it redirects to")
      }
      guard let location = response.headers.first(name: "Location"), location.utf8.count <= 8192,
        let next = URL(string: location, relativeTo: url)?.absoluteURL
      else {
        throw OCIError(.badResponse, "\(url.authority) redirects without saying where to")
      }
      guard isPermitted(next, from: url, of: request.registry) else {
        throw OCIError(
          .badResponse, "\(url.authority) redirects to \(OCIError.quoted(next.origin)), which is not secure")
      }
      if next.origin != url.origin { current.authorization = nil }
      current.url = next
    }
    throw OCIError(.badResponse, "\(request.url.authority) redirects more than \(Self.redirects) times")
  }

  /// The answer to a request, its body unread.
  struct Response {
    let http: HTTPClientResponse
    /// Where it came from in the end.
    let url: URL
    /// Whether that is the server that was asked.
    let sameServer: Bool

    var status: Int { Int(http.status.code) }

    /// The body's length as the server says it; nil when it does not.
    var contentLength: Int64? { http.headers.first(name: "Content-Length").flatMap { Int64($0) } }
  }

  /// Reads a bounded body; longer ones are refused.
  func body(of response: Response, limit: Int, _ what: String) async throws(OCIError) -> [UInt8] {
    let tooLong = OCIError(.limitExceeded, "\(what) from \(response.url.authority) is longer than \(limit) bytes")
    if let length = response.contentLength, length > Int64(limit) { throw tooLong }
    let stream = BodyStream(response.http.body, server: response.url.authority, configuration)
    var bytes: [UInt8] = []
    while var buffer = try await stream.next() {
      guard bytes.count + buffer.readableBytes <= limit else { throw tooLong }
      bytes += buffer.readBytes(length: buffer.readableBytes) ?? []
    }
    return bytes
  }
}

extension TimeAmount {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    self = .nanoseconds(
      seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ attoseconds / 1_000_000_000)
  }
}
