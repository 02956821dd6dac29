internal import Glibc
internal import IgniteSystem

extension PublishedPort {
  /// All of the host's IPv4 addresses, docker's default for a published port.
  public static let anyAddress = "0.0.0.0"

  /// A port of the host that is free on the port's address now. Blocking.
  ///
  /// It may be taken before it is used; the start of the network says so then.
  public static func freePort(for port: PublishedPort) throws(NetworkError) -> UInt16 {
    var port = port
    port.hostPort = 0
    let socket = try bound(port)
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let failure = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &length) }
    }
    guard failure == 0 else { throw NetworkError(SystemError("ask for a free port")) }
    return UInt16(bigEndian: address.sin_port)
  }

  /// Checks that the ports can be bound by a process without rights, each of them free and asked for once. Blocking.
  /// - Throws: `portInUse` naming the port and, where /proc shows it, its holder; `portNotPermitted`;
  ///   `addressNotAvailable`; `invalidPort` for two that exclude one another.
  public static func check(_ ports: [PublishedPort]) throws(NetworkError) {
    let least = HostHardware.text(of: "/proc/sys/net/ipv4/ip_unprivileged_port_start", limit: 16)
      .flatMap { $0.split(separator: "\n").first }.flatMap { UInt16($0) }
    var seen: [String: UInt16] = [:]
    var probes: [FileDescriptor] = []
    for port in ports {
      guard let host = port.hostPort, host > 0 else { continue }
      if let least, host < least { throw notPermitted(port, host, least: least) }
      // passt keeps one target a host port, whatever the address.
      let key = "\(host)/\(port.transport.rawValue)"
      if let other = seen[key], other != port.vmPort {
        throw NetworkError(
          .invalidPort, "port \(key) of the host is published twice, to \(other) and \(port.vmPort) of the VM",
          advice: "publish it once")
      }
      seen[key] = port.vmPort
      // Held until all are checked, so that two of the list that exclude one another are found.
      probes.append(try bound(port))
    }
  }

  private static func notPermitted(_ port: PublishedPort, _ host: UInt16, least: UInt16) -> NetworkError {
    NetworkError(
      .portNotPermitted,
      "port \(host)/\(port.transport.rawValue) of the host needs rights that no VM has: "
        + "ports below \(least) are privileged",
      advice: "choose a port from \(least) up, or run: sysctl net.ipv4.ip_unprivileged_port_start=\(host)")
  }

  /// A socket bound to the host's side, as passt binds it.
  private static func bound(_ port: PublishedPort) throws(NetworkError) -> FileDescriptor {
    let host = port.hostPort ?? 0
    let text = port.address ?? anyAddress
    let shown = "port \(text):\(host)/\(port.transport.rawValue) of the host"
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = host.bigEndian
    guard inet_pton(AF_INET, text, &address.sin_addr) == 1 else {
      throw NetworkError(
        .addressNotAvailable, "\(shown): guests have IPv4 only", advice: "publish on an IPv4 address")
    }
    let type = port.transport == .tcp ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue
    let number = socket(AF_INET, Int32(type | SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { throw NetworkError(SystemError("make a socket")) }
    let descriptor = FileDescriptor(number)
    var one: Int32 = 1
    if port.transport == .tcp {
      setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    let target = address
    func attempt() -> Int32 {
      let failure = withUnsafePointer(to: target) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 ? 0 : errno
        }
      }
      // Two TCP sockets may be bound under SO_REUSEADDR as long as none listens.
      return failure != 0 || host == 0 || port.transport == .udp ? failure : (listen(number, 1) == 0 ? 0 : errno)
    }
    var code = attempt()
    // A program that is being started holds a copy of its parent's sockets for a moment.
    for _ in 0..<5 where code == EADDRINUSE {
      usleep(10_000)
      code = attempt()
    }
    switch code {
    case 0: return descriptor
    case EADDRINUSE:
      let holder = PortHolder.find(port: host, transport: port.transport).map { " by \($0)" } ?? ""
      throw NetworkError(
        .portInUse, "\(shown) is in use\(holder)", advice: "publish another port of the host, or end what uses this one"
      )
    case EACCES: throw notPermitted(port, host, least: 1024)
    case EADDRNOTAVAIL:
      throw NetworkError(
        .addressNotAvailable, "\(shown): \(text) is no address of this host",
        advice: "give an address that 'ip address' lists, or none for all")
    default: throw NetworkError(SystemError("bind \(shown)", code: code))
    }
  }
}
