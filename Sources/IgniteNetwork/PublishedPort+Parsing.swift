internal import Glibc

extension PublishedPort {
  /// At most so many ports in one range.
  public static let maximumRange = 1024

  /// Reads docker's `-p`: `[IP:][HOST:]VM[/tcp|udp]`, HOST and VM a port or a range `FIRST-LAST` of equal lengths,
  /// an IPv6 address in brackets. Without HOST, or with an empty one, the host's port is chosen at the start.
  public static func parse(_ specification: String) throws(NetworkError) -> [PublishedPort] {
    func invalid(_ reason: String) -> NetworkError {
      let shown = specification.utf8.count > 80 ? String(specification.prefix(80)) + "…" : specification
      return NetworkError(
        .invalidPort, "published port \"\(shown)\": \(reason)",
        advice: "write [IP:][HOST:]VM[/tcp|udp], for example 8080:80")
    }
    func range(_ text: Substring, _ what: String) throws(NetworkError) -> ClosedRange<UInt16> {
      let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
      guard let first = port(ends[0]), let last = port(ends[ends.count - 1]) else {
        throw invalid("the \(what) port is no number from 1 to 65535")
      }
      guard first <= last else { throw invalid("the \(what) ports' range ends before it begins") }
      guard Int(last) - Int(first) < maximumRange else { throw invalid("more than \(maximumRange) ports in a range") }
      return first...last
    }

    guard specification.utf8.count <= 256 else { throw invalid("too long") }
    var rest = Substring(specification)
    var transport = TransportProtocol.tcp
    if let slash = rest.lastIndex(of: "/") {
      let name = rest[rest.index(after: slash)...]
      guard let known = TransportProtocol(rawValue: name.lowercased()) else {
        throw invalid(
          name.lowercased() == "sctp" ? "SCTP is not carried; use tcp or udp" : "the protocol is not tcp or udp")
      }
      transport = known
      rest = rest[..<slash]
    }

    var address: String?
    if rest.hasPrefix("[") {
      guard let bracket = rest.firstIndex(of: "]") else { throw invalid("the bracket is not closed") }
      address = String(rest[rest.index(after: rest.startIndex)..<bracket])
      rest = rest[rest.index(after: bracket)...]
      guard rest.first == ":" else { throw invalid("no port after the address") }
      rest = rest.dropFirst()
      guard isAddress(address, AF_INET6) else { throw invalid("no IPv6 address in the brackets") }
    }
    var parts = rest.split(separator: ":", omittingEmptySubsequences: false)
    if address == nil, parts.count == 3 {
      address = String(parts.removeFirst())
      if address == "" { throw invalid("the address is empty") }
      guard isAddress(address, AF_INET) else { throw invalid("no IPv4 address before the ports") }
    }
    guard parts.count == 1 || parts.count == 2, let last = parts.last else { throw invalid("too many colons") }
    if address != nil, parts.count == 1 { parts.insert("", at: 0) }

    let vm = try range(last, "VM's")
    guard parts.count == 2, !parts[0].isEmpty else {
      return vm.map { PublishedPort(address: address, hostPort: nil, vmPort: $0, transport: transport) }
    }
    let host = try range(parts[0], "host's")
    guard host.count == vm.count else { throw invalid("the two ranges have different lengths") }
    return zip(host, vm).map {
      PublishedPort(address: address, hostPort: $0, vmPort: $1, transport: transport)
    }
  }

  private static func port(_ text: Substring) -> UInt16? {
    guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }),
      let number = UInt16(text),
      number > 0
    else { return nil }
    return number
  }

  private static func isAddress(_ text: String?, _ family: Int32) -> Bool {
    var buffer = in6_addr()
    guard let text, !text.utf8.contains(0) else { return false }
    return inet_pton(family, text, &buffer) == 1
  }
}
