internal import FoundationEssentials

/// What a user says of one registry, or of another server that a registry leads to.
public struct RegistrySettings: Sendable, Hashable, Codable {
  /// As a reference spells it: `docker.io`, `registry.example:5000`.
  public var host: String
  /// true: HTTPS with any certificate, or else plain HTTP. false: HTTPS, even on loopback.
  public var insecure: Bool?
  /// A PEM file of authorities that are trusted beside the system's.
  public var ca: String?
  /// PEM files by which this machine makes itself known to the registry; both or none.
  public var clientCertificate: String?
  public var clientKey: String?
  /// Where images are asked for first, in this order: `https://mirror.example[:PORT][/PREFIX]`.
  public var mirrors: [String] = []
  /// `http://[USER:PASSWORD@]HOST:PORT`, or `none`; nil for what the environment says.
  public var proxy: String?

  public init(host: String) { self.host = host }

  /// The fields' names, for those that read a configuration.
  public static let fields = ["host", "insecure", "ca", "clientCertificate", "clientKey", "mirrors", "proxy"]

  /// Checks all that can be checked without touching file or network.
  ///
  /// - Throws: `invalidReference`, whose message says what is wrong.
  public func check() throws(OCIError) {
    if let why = ReferenceGrammar.problem(registry: host) { throw OCIError(.invalidReference, why) }
    guard (clientCertificate == nil) == (clientKey == nil) else {
      throw OCIError(
        .invalidReference, "\(host) has a client certificate without a key, or a key without a certificate",
        advice: "give both, clientCertificate and clientKey")
    }
    for file in [ca, clientCertificate, clientKey].compactMap({ $0 }) where !file.hasPrefix("/") {
      throw OCIError(.invalidReference, "the file \(OCIError.quoted(file)) of \(host) is no absolute path")
    }
    for mirror in mirrors { _ = try RegistryEndpoint.mirror(mirror, of: host) }
    if let proxy, proxy != "none" { _ = try Proxy(proxy) }
  }

  /// Whether HTTPS is meant, loopback or not.
  var wantsSecurity: Bool { insecure == false || ca != nil || clientCertificate != nil }
}

extension [RegistrySettings] {
  /// What is said of a host, by any of the names that it goes by.
  func settings(for names: [String]) -> RegistrySettings? {
    for name in names {
      if let found = first(where: { $0.host.lowercased() == name }) { return found }
    }
    return nil
  }
}

extension URL {
  /// The names that settings and certificate folders may give this URL's server: with its port, and without one
  /// where the port is the scheme's own.
  var serverNames: [String] {
    guard let host = hostName else { return [] }
    let bracketed = host.contains(":") ? "[\(host)]" : host
    var names = ["\(bracketed):\(portNumber)"]
    if port == nil || portNumber == (scheme?.lowercased() == "http" ? 80 : 443) { names.append(bracketed) }
    if host == "registry-1.docker.io" { names.append("docker.io") }
    return names
  }
}
