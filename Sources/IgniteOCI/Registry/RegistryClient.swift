internal import AsyncHTTPClient
internal import FoundationEssentials
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import Synchronization

/// The connections to registries and the tokens they gave; one serves a whole process.
///
/// Nothing is opened before the first request. The shared client lives until the process ends; any other one is to be
/// shut down, or shuts down by itself when it is released.
public final class RegistryClient: Sendable {
  /// How long to wait and how often to try.
  public struct Configuration: Sendable {
    /// Sent as `User-Agent: ignite/<version>`.
    public var version = "0.1.0"
    /// Until a connection stands, TLS included.
    public var connectTimeout: Duration = .seconds(15)
    /// The longest silence of a server that owes an answer.
    public var idleTimeout: Duration = .seconds(60)
    /// Tries of a request that fails without an answer or with a server's own failure (5xx).
    public var tries = 3
    /// The pause before the second try; doubled for each one after it.
    public var backoff: Duration = .milliseconds(200)
    /// Certificates of the authorities to trust, a PEM file; nil for the system's, or what `SSL_CERT_FILE` names.
    public var trustedCertificates: String?
    /// Addresses of host names, by which tests reach a server of this machine under another name.
    var addresses: [String: String] = [:]

    public init() {}
  }

  public static let shared = RegistryClient()

  let configuration: Configuration
  let tokens = TokenCache()
  private let http = Mutex<HTTPClient?>(nil)

  public init(configuration: Configuration = Configuration()) {
    self.configuration = configuration
  }

  deinit {
    http.withLock { $0 }?.shutdown { _ in }
  }

  /// Closes all connections; later requests open new ones.
  public func shutdown() async {
    let client = http.withLock { client in
      defer { client = nil }
      return client
    }
    try? await client?.shutdown()
  }

  private func client() -> HTTPClient {
    http.withLock { client in
      if let client { return client }
      let made = HTTPClient(eventLoopGroupProvider: .singleton, configuration: httpConfiguration())
      client = made
      return made
    }
  }

  /// The file of authorities that takes the place of the system's; nil for none.
  private var trustedCertificates: String? {
    let file = configuration.trustedCertificates ?? getenv("SSL_CERT_FILE").map { String(cString: $0) }
    return file.flatMap { $0.isEmpty ? nil : $0 }
  }

  private func httpConfiguration() -> HTTPClient.Configuration {
    var tls = TLSConfiguration.makeClientConfiguration()
    if let trustedCertificates { tls.trustRoots = .file(trustedCertificates) }
    var result = HTTPClient.Configuration(
      tlsConfiguration: tls, redirectConfiguration: .disallow,
      timeout: .init(
        connect: TimeAmount(configuration.connectTimeout), read: TimeAmount(configuration.idleTimeout)),
      decompression: .disabled)
    result.httpVersion = .http1Only
    result.dnsOverride = configuration.addresses
    // Failures to connect are told at once; trying again is ours.
    result.connectionPool.retryConnectionEstablishment = false
    return result
  }

  /// One request, without redirects.
  private func once(
    _ url: URL, headers: [(String, String)], authorization: String?
  ) async throws(OCIError) -> HTTPClientResponse {
    // The TLS library would only say that the handshake failed.
    if url.scheme == "https", let trustedCertificates, access(trustedCertificates, R_OK) != 0 {
      throw OCIError(
        .tls,
        "cannot make a secure connection to \(url.authority): the trusted certificates cannot be read from "
          + trustedCertificates, advice: "check SSL_CERT_FILE")
    }
    var request = HTTPClientRequest(url: url.absoluteString)
    request.headers.add(name: "User-Agent", value: "ignite/\(configuration.version)")
    for (name, value) in headers { request.headers.add(name: name, value: value) }
    if let authorization { request.headers.add(name: "Authorization", value: authorization) }
    do {
      return try await client().execute(request, deadline: .distantFuture)
    } catch {
      throw OCIError(transport: error, server: url.authority, silence: configuration.idleTimeout)
    }
  }

  /// Redirects that are followed for one request.
  private static let redirects = 10

  /// A GET that follows redirects by hand: credentials stay with the server they are for, and nothing falls back from
  /// HTTPS to HTTP.
  func get(
    _ start: URL, headers: [(String, String)] = [], authorization: String? = nil
  ) async throws(OCIError) -> Response {
    var url = start
    var authorization = authorization
    for _ in 0...Self.redirects {
      let response = try await once(url, headers: headers, authorization: authorization)
      guard [301, 302, 303, 307, 308].contains(response.status.code) else {
        return Response(http: response, url: url, sameServer: url.origin == start.origin)
      }
      guard let location = response.headers.first(name: "Location"), location.utf8.count <= 8192,
        let next = URL(string: location, relativeTo: url)?.absoluteURL
      else {
        throw OCIError(.badResponse, "\(url.authority) redirects without saying where to")
      }
      guard next.isPermitted(downgradeFrom: url) else {
        throw OCIError(
          .badResponse, "\(url.authority) redirects to \(OCIError.quoted(next.origin)), which is not secure")
      }
      if next.origin != url.origin { authorization = nil }
      url = next
    }
    throw OCIError(.badResponse, "\(start.authority) redirects more than \(Self.redirects) times")
  }

  /// The answer to a request, its body unread.
  struct Response {
    let http: HTTPClientResponse
    /// Where it came from in the end.
    let url: URL
    /// Whether that is the server that was asked.
    let sameServer: Bool

    var status: Int { Int(http.status.code) }
  }

  /// Reads a bounded body; longer ones are refused.
  func body(of response: Response, limit: Int, _ what: String) async throws(OCIError) -> [UInt8] {
    let tooLong = OCIError(.limitExceeded, "\(what) from \(response.url.authority) is longer than \(limit) bytes")
    if let length = response.contentLength, length > Int64(limit) { throw tooLong }
    var bytes: [UInt8] = []
    do {
      for try await var buffer in response.http.body {
        guard bytes.count + buffer.readableBytes <= limit else { throw tooLong }
        bytes += buffer.readBytes(length: buffer.readableBytes) ?? []
      }
    } catch let error as OCIError {
      throw error
    } catch {
      throw OCIError(transport: error, server: response.url.authority, silence: configuration.idleTimeout)
    }
    return bytes
  }

  /// Runs `body` again, after a pause, while it fails in a way that passes.
  func retrying<Value: Sendable>(_ body: @Sendable () async throws(OCIError) -> Value) async throws(OCIError) -> Value {
    var pause = configuration.backoff
    var tried = 1
    while true {
      do throws(OCIError) {
        return try await body()
      } catch {
        guard error.isTransient, tried < configuration.tries else { throw error }
      }
      try await rest(pause)
      pause *= 2
      tried += 1
    }
  }

  /// Waits; ends at once, with an error, when the task is cancelled.
  func rest(_ pause: Duration) async throws(OCIError) {
    do { try await Task.sleep(for: pause) } catch { throw .cancelled }
  }
}

extension RegistryClient.Response {
  /// The body's length as the server says it; nil when it does not.
  var contentLength: Int64? { http.headers.first(name: "Content-Length").flatMap { Int64($0) } }
}

extension TimeAmount {
  init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    self = .nanoseconds(
      seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ attoseconds / 1_000_000_000)
  }
}
