internal import FoundationEssentials
internal import Glibc

/// Where a registry is reached: scheme, host and port.
struct RegistryEndpoint: Sendable, Hashable {
  /// As the reference spells it, for messages.
  let name: String
  let base: URL

  /// Plain HTTP for this machine only, HTTPS for all others; Docker's registry lives at another name than its own.
  init(registry: String) throws(OCIError) {
    name = registry
    let authority = registry == "docker.io" ? "registry-1.docker.io" : registry
    guard let probe = URL(string: "https://\(authority)/"), let host = probe.hostName else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(registry))' is no registry")
    }
    let scheme = isLoopback(host) ? "http" : "https"
    guard let base = URL(string: "\(scheme)://\(authority)/v2/") else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(registry))' is no registry")
    }
    self.base = base
  }

  func url(_ path: String) throws(OCIError) -> URL {
    guard let url = URL(string: base.absoluteString + path) else {
      throw OCIError(.invalidReference, "'\(OCIError.quoted(path))' makes no URL on \(name)")
    }
    return url
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

  private var portNumber: Int { port ?? (scheme?.lowercased() == "https" ? 443 : 80) }

  /// `host:port`, for messages.
  var authority: String {
    let host = hostName ?? "?"
    return "\(host.contains(":") ? "[\(host)]" : host):\(portNumber)"
  }

  /// Whether a request may go to this URL: HTTPS, or HTTP to this machine; no user name in it.
  func isPermitted(downgradeFrom previous: URL?) -> Bool {
    guard let host = hostName, user(percentEncoded: true) == nil, password(percentEncoded: true) == nil else {
      return false
    }
    switch scheme?.lowercased() {
    case "https": return true
    case "http": return isLoopback(host) && previous?.scheme?.lowercased() != "https"
    default: return false
    }
  }
}
