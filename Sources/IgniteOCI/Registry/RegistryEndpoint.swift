internal import FoundationEssentials
internal import Glibc

/// Where a registry, or a mirror of it, is reached.
struct RegistryEndpoint: Sendable, Hashable {
  /// As the reference or the configuration spells it, for messages.
  let name: String
  /// `scheme://host:port/v2/`, and a mirror's prefix.
  let base: URL
  /// Whose credentials go there: a mirror has its own, and never gets the registry's.
  let credentials: String
  let isMirror: Bool

  private init(name: String, base: URL, credentials: String, isMirror: Bool) {
    self.name = name
    self.base = base
    self.credentials = credentials
    self.isMirror = isMirror
  }

  /// The registry itself. Docker's lives at another name than its own.
  init(registry: String, scheme: String) throws(OCIError) {
    let authority = registry == "docker.io" ? "registry-1.docker.io" : registry
    guard let base = URL(string: "\(scheme)://\(authority)/v2/"), base.hostName != nil else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(registry))' is no registry")
    }
    self.init(name: registry, base: base, credentials: registry, isMirror: false)
  }

  /// A mirror by its URL. Without a scheme it is HTTPS, on loopback HTTP. What path it has comes before the
  /// repository's name.
  static func mirror(_ text: String, of registry: String) throws(OCIError) -> RegistryEndpoint {
    func invalid(_ why: String) -> OCIError {
      OCIError(
        .invalidReference, "the mirror '\(OCIError.quoted(text))' of \(registry) cannot be: \(why)",
        advice: "write it as https://HOST[:PORT][/PREFIX]")
    }
    let spelled: String
    if text.contains("://") {
      spelled = text
    } else {
      guard let host = URL(string: "https://\(text)")?.hostName else { throw invalid("it is no URL") }
      spelled = "\(isLoopback(host) ? "http" : "https")://\(text)"
    }
    guard text.utf8.count <= 1024, let url = URL(string: spelled), let host = url.hostName else {
      throw invalid("it is no URL")
    }
    guard let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme) else {
      throw invalid("it is neither https:// nor http://")
    }
    guard url.user(percentEncoded: true) == nil, url.query(percentEncoded: true) == nil, url.fragment == nil else {
      throw invalid("it has more than a host and a path")
    }
    let prefix = url.path(percentEncoded: true).split(separator: "/").joined(separator: "/")
    if !prefix.isEmpty, let why = ReferenceGrammar.problem(repository: prefix) { throw invalid(why) }
    let bracketed = host.contains(":") ? "[\(host)]" : host
    let authority = url.port.map { "\(bracketed):\($0)" } ?? bracketed
    guard let base = URL(string: "\(scheme)://\(authority)/v2/" + (prefix.isEmpty ? "" : "\(prefix)/")) else {
      throw invalid("it is no URL")
    }
    return RegistryEndpoint(name: authority, base: base, credentials: authority, isMirror: true)
  }

  /// A path below the endpoint: `library/nginx/manifests/latest`.
  func url(_ path: String) throws(OCIError) -> URL {
    guard let url = URL(string: base.absoluteString + path) else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(path))' makes no URL on \(name)")
    }
    return url
  }

  /// `http`, where this machine alone is spoken to and nothing else is said.
  static func scheme(of registry: String, _ settings: RegistrySettings?) -> String {
    guard let host = URL(string: "https://\(registry)/")?.hostName else { return "https" }
    return isLoopback(host) && settings?.wantsSecurity != true ? "http" : "https"
  }
}

/// Whether a host name or address always means this machine.
func isLoopback(_ host: String) -> Bool {
  if host.lowercased() == "localhost" { return true }
  var four = in_addr()
  if inet_pton(AF_INET, host, &four) == 1 { return UInt32(bigEndian: four.s_addr) >> 24 == 127 }
  var six = in6_addr()
  guard inet_pton(AF_INET6, host, &six) == 1 else { return false }
  return withUnsafeBytes(of: &six) { bytes in bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1 }
}

extension URL {
  /// The host in lower case, an IPv6 address without its brackets; nil where there is none.
  var hostName: String? {
    guard var host = host(percentEncoded: true), !host.isEmpty else { return nil }
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return host.lowercased()
  }

  /// `scheme://host:port`, by which two URLs are of one server.
  var origin: String { "\(scheme?.lowercased() ?? "")://\(hostName ?? ""):\(portNumber)" }

  var portNumber: Int { port ?? (scheme?.lowercased() == "https" ? 443 : 80) }

  /// `host:port`, for messages.
  var authority: String {
    let host = hostName ?? "?"
    return "\(host.contains(":") ? "[\(host)]" : host):\(portNumber)"
  }

  /// Whether a request may go to this URL: HTTPS, or HTTP to this machine or where it was allowed; no user name in it.
  ///
  /// - Parameters:
  ///   - previous: what led here; from HTTPS nothing leads to HTTP.
  ///   - plain: whether the user allowed HTTP for this server.
  func isPermitted(downgradeFrom previous: URL?, plain: Bool = false) -> Bool {
    guard let host = hostName, user(percentEncoded: true) == nil, password(percentEncoded: true) == nil else {
      return false
    }
    switch scheme?.lowercased() {
    case "https": return true
    case "http": return (isLoopback(host) || plain) && previous?.scheme?.lowercased() != "https"
    default: return false
    }
  }
}
