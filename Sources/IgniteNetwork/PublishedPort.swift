/// A port of the host that leads to one of the VM's.
public struct PublishedPort: Sendable, Equatable, Hashable, Codable, CustomStringConvertible {
  /// The protocols that a user-mode network carries.
  public enum TransportProtocol: String, Sendable, Codable, CaseIterable {
    case tcp
    case udp
  }

  /// An IPv4 or IPv6 address of the host, as text; nil stands for the configured default.
  public var address: String?
  /// The host's port; nil stands for a free one, chosen at the start.
  public var hostPort: UInt16?
  public var vmPort: UInt16
  public var transport: TransportProtocol

  public init(address: String? = nil, hostPort: UInt16?, vmPort: UInt16, transport: TransportProtocol = .tcp) {
    self.address = address
    self.hostPort = hostPort
    self.vmPort = vmPort
    self.transport = transport
  }

  /// As docker prints it: `0.0.0.0:8080->80/tcp`.
  public var description: String {
    let host = address.map { $0.contains(":") ? "[\($0)]" : $0 } ?? "0.0.0.0"
    return "\(host):\(hostPort.map(String.init) ?? "?")->\(vmPort)/\(transport.rawValue)"
  }

  /// The specification that `parse` reads.
  public var specification: String {
    let host = address.map { ($0.contains(":") ? "[\($0)]" : $0) + ":" } ?? ""
    let port = hostPort.map { "\($0):" } ?? (host.isEmpty ? "" : ":")
    return "\(host)\(port)\(vmPort)/\(transport.rawValue)"
  }
}
