public import IgniteSystem

/// What passt is started with; passt connects a guest's Ethernet to ordinary sockets of the host, without rights.
public struct PasstSettings: Sendable, Equatable, Codable {
  /// passt's path.
  public var program: String
  /// Ports with their host's side decided.
  public var ports: [PublishedPort]

  public init(program: String = PasstSettings.find() ?? "/usr/bin/passt", ports: [PublishedPort] = []) {
    self.program = program
    self.ports = ports
  }

  /// Where the descriptor of the guest's frames is in passt's process.
  static let place: Int32 = 3

  /// All of argv after the program's name.
  ///
  /// `--no-map-gw` keeps the host's loopback from the guest, whose gateway would lead there else. IPv4 only: the guest
  /// has no IPv6 address. It asks no DHCP; its init sets the addresses. The pid is written to standard output once all
  /// ports are bound, which is how the caller knows that it is ready.
  func arguments() -> [String] {
    var arguments = [
      "--foreground", "--quiet", "--stderr", "--fd", String(Self.place), "--pid", "/proc/self/fd/1",
      "--ipv4-only", "--no-map-gw", "--address", GuestAddressing.address,
      "--netmask", String(GuestAddressing.prefixLength), "--gateway", GuestAddressing.gateway,
      "--dns-forward", GuestAddressing.nameServer, "--no-dhcp", "--no-dhcpv6", "--no-ra", "--no-ndp",
    ]
    for port in ports {
      guard let host = port.hostPort else { continue }
      let address = port.address ?? PublishedPort.anyAddress
      arguments += [port.transport == .tcp ? "--tcp-ports" : "--udp-ports", "\(address)/\(host):\(port.vmPort)"]
    }
    return arguments
  }

  /// passt's path on this host; nil without one.
  public static func find() -> String? {
    ["/usr/bin/passt", "/usr/local/bin/passt"].first { isExecutable($0) }
  }

  /// passt and the variant for newer processors that it replaces itself by.
  public var programs: [String] {
    [program, program + ".avx2"].filter { isExecutable($0) }
  }

  /// A root with passt alone, for a user without rights.
  func isolation(uid: UInt32) -> Isolation {
    Isolation(uid: uid, gid: uid, mounts: Isolation.system(programs: programs) + Self.mounts)
  }

  /// Files that passt needs in a root of its own, beside `Isolation.system(programs:)`.
  public static let mounts: [Isolation.Mount] = [Isolation.same("/etc/resolv.conf")]
}
