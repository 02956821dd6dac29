internal import FoundationEssentials
internal import Glibc
internal import NIOSSL

extension RegistryClient {
  /// How registries are reached, how long to wait and how often to try.
  public struct Configuration: Sendable {
    /// Sent as `User-Agent: ignite/<version>`.
    public var version = "0.1.0"
    /// Until a connection stands, TLS included.
    public var connectTimeout: Duration = .seconds(15)
    /// The longest silence of a server that owes an answer.
    public var idleTimeout: Duration = .seconds(60)
    /// The least that a transfer has to bring over each `rateWindow` of waiting, in bytes a second; 0 for no limit.
    public var minimumRate: Int64 = 1024
    public var rateWindow: Duration = .seconds(60)
    /// Tries of a request that fails without an answer, with a server's own failure (5xx), or with 429.
    public var tries = 5
    /// The pause before the second try; doubled for each one after it, half of it at random.
    public var backoff: Duration = .milliseconds(200)
    /// The longest pause, and the longest `Retry-After` that is waited for.
    public var longestPause: Duration = .seconds(60)
    /// Certificates of the authorities to trust, a PEM file; nil for the system's, or what `SSL_CERT_FILE` names.
    public var trustedCertificates: String?
    /// What is said of single registries.
    public var registries: [RegistrySettings] = []
    /// Where `HOST/*.crt`, `HOST/*.cert` and `HOST/*.key` are looked for.
    public var certificateFolders = ["/etc/docker/certs.d", "/etc/containers/certs.d"]
    /// Variables: proxies, `SSL_CERT_FILE`.
    public var environment: [String: String]
    /// Where credentials are.
    public var credentials: CredentialStore
    /// Addresses of host names, by which tests reach a server of this machine under another name.
    var addresses: [String: String] = [:]

    /// - Parameter environment: nil for this process's own.
    public init(environment: [String: String]? = nil) {
      self.environment = environment ?? ProcessInfo.processInfo.environment
      credentials = CredentialStore(environment: self.environment)
    }

    /// The file of authorities that takes the place of the system's; nil for none.
    var authorities: String? {
      let file = trustedCertificates ?? environment["SSL_CERT_FILE"]
      return file.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What HTTPS has where nothing is said of a server.
    var tls: TLSConfiguration {
      var tls = TLSConfiguration.makeClientConfiguration()
      if let authorities { tls.trustRoots = .file(authorities) }
      return tls
    }
  }
}
