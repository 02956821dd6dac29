internal import AsyncHTTPClient
internal import FoundationEssentials
internal import Glibc

/// An HTTP proxy, asked by CONNECT (RFC 9110, section 9.3.6).
struct Proxy: Sendable, Hashable {
  let host: String
  let port: Int
  let user: String?
  let password: String?

  /// Reads `[http://][USER[:PASSWORD]@]HOST[:PORT][/]`; the port is 80 unless given, as curl's and Go's is for a scheme.
  init(_ text: String) throws(OCIError) {
    let spelled = text.contains("://") ? text : "http://\(text)"
    let shown = Self.withoutPassword(text)
    guard spelled.utf8.count <= 2048, let url = URL(string: spelled), let host = url.hostName else {
      throw OCIError(
        .invalidReference, "'\(shown)' is no proxy", advice: "write it as http://[USER:PASSWORD@]HOST:PORT")
    }
    guard url.scheme?.lowercased() == "http" else {
      throw OCIError(
        .unsupported, "the proxy '\(shown)' is of a kind that is not supported",
        advice: "HTTP proxies are: http://HOST:PORT")
    }
    guard (1...65535).contains(url.port ?? 80), ["", "/"].contains(url.path(percentEncoded: true)) else {
      throw OCIError(.invalidReference, "'\(shown)' is no proxy: its port or path cannot be")
    }
    self.host = host
    port = url.port ?? 80
    user = url.user(percentEncoded: false)
    password = url.password(percentEncoded: false)
  }

  /// For messages: credentials are nobody's business.
  var name: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }

  var configuration: HTTPClient.Configuration.Proxy {
    .server(
      host: host, port: port,
      authorization: user.map { .basic(username: $0, password: password ?? "") })
  }

  private static func withoutPassword(_ text: String) -> String {
    guard let at = text.lastIndex(of: "@") else { return OCIError.quoted(text) }
    return OCIError.quoted("...\(text[at...])")
  }
}

/// The proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in capitals or not.
struct ProxyEnvironment: Sendable {
  private let https: String?
  private let http: String?
  private let exceptions: [Substring]

  init(_ environment: [String: String]) {
    func value(_ name: String) -> String? {
      for name in [name, name.lowercased()] {
        if let value = environment[name], !value.isEmpty { return value }
      }
      return nil
    }
    https = value("HTTPS_PROXY")
    http = value("HTTP_PROXY")
    exceptions = (value("NO_PROXY") ?? "").split { $0 == "," || $0 == " " }
  }

  /// The proxy for a URL; nil for none. This machine itself is never asked for through a proxy.
  func proxy(for url: URL) throws(OCIError) -> Proxy? {
    guard let host = url.hostName, !isLoopback(host) else { return nil }
    guard let text = url.scheme?.lowercased() == "https" ? https : http else { return nil }
    for exception in exceptions where Self.matches(exception.lowercased(), host: host, port: url.portNumber) {
      return nil
    }
    do throws(OCIError) {
      return try Proxy(text)
    } catch {
      throw error.prefixed(url.scheme?.lowercased() == "https" ? "HTTPS_PROXY" : "HTTP_PROXY")
    }
  }

  /// Whether an entry of NO_PROXY means a host: `*`, a name with all below it, an address, a network (`10.0.0.0/8`),
  /// each but the first and last with or without a port.
  static func matches(_ entry: String, host: String, port: Int) -> Bool {
    if entry == "*" { return true }
    if let slash = entry.lastIndex(of: "/") {
      guard let length = Int(entry[entry.index(after: slash)...]) else { return false }
      return AddressBytes(String(entry[..<slash])).map { $0.contains(host, length: length) } ?? false
    }
    var name = entry[...]
    if let bracket = name.lastIndex(of: "]"), name.hasPrefix("[") {
      let rest = name[name.index(after: bracket)...]
      if rest.hasPrefix(":"), Int(rest.dropFirst()) != port { return false }
      name = name[name.index(after: name.startIndex)..<bracket]
    } else if name.filter({ $0 == ":" }).count == 1, let colon = name.firstIndex(of: ":") {
      guard Int(name[name.index(after: colon)...]) == port else { return false }
      name = name[..<colon]
    }
    if let one = AddressBytes(String(name)), let other = AddressBytes(host) { return one == other }
    if name.hasPrefix("*.") { name = name.dropFirst() }
    let bare = name.hasPrefix(".") ? name.dropFirst() : name
    guard !bare.isEmpty else { return false }
    return host.hasSuffix(".\(bare)") || (host == bare && !name.hasPrefix("."))
  }
}

/// An IP address in network order.
private struct AddressBytes: Equatable {
  let bytes: [UInt8]

  init?(_ text: String) {
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      bytes = withUnsafeBytes(of: &four) { Array($0) }
      return
    }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    bytes = withUnsafeBytes(of: &six) { Array($0) }
  }

  /// Whether `host` is an address whose first bits are these.
  func contains(_ host: String, length: Int) -> Bool {
    guard let other = AddressBytes(host), other.bytes.count == bytes.count, (0...bytes.count * 8).contains(length)
    else { return false }
    for (position, pair) in zip(bytes, other.bytes).enumerated() {
      let bits = min(8, max(0, length - position * 8))
      let mask = UInt8(truncatingIfNeeded: 0xff00 >> bits)
      if pair.0 & mask != pair.1 & mask { return false }
    }
    return true
  }
}
