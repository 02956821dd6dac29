import Glibc
import IgniteSystem
import Testing

@testable import IgniteNetwork

@Suite struct NetworkTests {
  /// A TCP socket that listens on a free port of the loopback, and the port.
  private func listener() throws -> (FileDescriptor, UInt16) {
    let socket = FileDescriptor(Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket.number, $0, 16) }
    }
    try #require(result == 0)
    try retrying("listen") { Int(listen(socket.number, 1)) }
    // The system has chosen one that nobody else had at that moment.
    var length = socklen_t(16)
    let named = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &length) }
    }
    try #require(named == 0)
    return (socket, UInt16(bigEndian: address.sin_port))
  }

  @Test func everyVMHasAnEthernetAddressOfItsOwn() {
    #expect(GuestAddressing.macAddress(uid: "0123456789abcdef") == "52:01:23:45:67:89")
    #expect(GuestAddressing.macAddress(uid: "0123456788abcdef") != "52:01:23:45:67:89")
  }

  @Test func aPortInUseIsNamedWithItsHolder() throws {
    let (socket, port) = try listener()
    let published = PublishedPort(hostPort: port, vmPort: 80)
    let error = #expect(throws: NetworkError.self) { try PublishedPort.check([published]) }
    #expect(error?.code == .portInUse)
    #expect(error?.message.hasPrefix("port 0.0.0.0:\(port)/tcp of the host is in use by ") == true)
    #expect(error?.message.hasSuffix("(process \(getpid()))") == true)
    socket.close()
    try PublishedPort.check([published])
  }

  @Test func portsThatCannotBe() throws {
    func code(_ ports: PublishedPort...) -> NetworkError.Code? {
      #expect(throws: NetworkError.self) { try PublishedPort.check(ports) }?.code
    }
    let free = try PublishedPort.freePort(for: PublishedPort(hostPort: nil, vmPort: 1))
    #expect(code(PublishedPort(hostPort: 1, vmPort: 1)) == .portNotPermitted)
    #expect(code(PublishedPort(address: "203.0.113.77", hostPort: free, vmPort: 1)) == .addressNotAvailable)
    #expect(code(PublishedPort(address: "::1", hostPort: free, vmPort: 1)) == .addressNotAvailable)
    #expect(code(PublishedPort(hostPort: free, vmPort: 1), PublishedPort(hostPort: free, vmPort: 2)) == .invalidPort)
    #expect(code(PublishedPort(hostPort: free, vmPort: 1), PublishedPort(hostPort: free, vmPort: 1)) == .portInUse)
    try PublishedPort.check([
      PublishedPort(hostPort: free, vmPort: 1), PublishedPort(hostPort: free, vmPort: 1, transport: .udp),
    ])
  }

  @Test func passtIsToldOfPortsAndAddresses() {
    let settings = PasstSettings(
      program: "/usr/bin/passt",
      ports: [
        PublishedPort(hostPort: 8080, vmPort: 80),
        PublishedPort(address: "127.0.0.1", hostPort: 5353, vmPort: 53, transport: .udp),
      ])
    #expect(
      settings.arguments() == [
        "--foreground", "--quiet", "--stderr", "--fd", "3", "--pid", "/proc/self/fd/1", "--ipv4-only", "--no-map-gw",
        "--address", "10.0.2.15", "--netmask", "24", "--gateway", "10.0.2.2", "--dns-forward", "10.0.2.3", "--no-dhcp",
        "--no-dhcpv6", "--no-ra", "--no-ndp", "--tcp-ports", "0.0.0.0/8080:80", "--udp-ports", "127.0.0.1/5353:53",
      ])
  }

  /// passt as a VM has it: a user without rights in a root of its own.
  @Test func passtRunsConfinedAndEndsWithItsSocket() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let port = try PublishedPort.freePort(for: PublishedPort(hostPort: nil, vmPort: 80))
    let settings = PasstSettings(ports: [PublishedPort(hostPort: port, vmPort: 80)])
    let started = try await NetworkProcess.start(settings, loop: loop, isolation: settings.isolation(uid: 61_400))
    let pid = started.process.identity.pid
    let status = HostHardware.text(of: "/proc/\(pid)/status") ?? ""
    #expect(status.contains("Uid:\t61400\t61400\t61400\t61400"))
    #expect(status.contains("CapEff:\t0000000000000000"))
    #expect(status.contains("NoNewPrivs:\t1"))
    #expect(access("/proc/\(pid)/root/etc/shadow", F_OK) != 0)
    // Its port is bound by the time that it is said to run.
    let taken = #expect(throws: NetworkError.self) { try PublishedPort.check(settings.ports) }
    #expect(taken?.message.contains("passt") == true)
    started.socket.close()
    #expect(await started.process.exited() == .exited(0))
    try PublishedPort.check(settings.ports)
  }

  @Test func passtThatCannotStartSaysWhy() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let missing = await #expect(throws: NetworkError.self) {
      try await NetworkProcess.start(PasstSettings(program: "/no/passt"), loop: loop)
    }
    #expect(missing?.code == .notInstalled)
    let said = "Failed to send 47 bytes to syslog\nNo routable interface\n\nFailed to send 1 bytes to syslog\n"
    let error = NetworkProcess.failure(said: said, end: .exited(1), settings: PasstSettings())
    #expect(error.message == "passt could not start: No routable interface")
  }

  @Test func theDefaultRouteIsFound() {
    let header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    #expect(UserNetwork.hasDefaultRoute(header + "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"))
    #expect(!UserNetwork.hasDefaultRoute(header + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"))
    #expect(!UserNetwork.hasDefaultRoute(header + "eth0\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"))
    #expect(!UserNetwork.hasDefaultRoute("") && !UserNetwork.hasDefaultRoute("a\nb c\n"))
  }

  @Test func theDoctorStartsPasst() async throws {
    let loop = try EventLoop(name: "test")
    defer { loop.stop() }
    let check = await UserNetwork.check(loop: loop)
    if case .passt = UserNetwork.choose() {
      #expect(check.status == .ok, "\(check)")
    } else {
      #expect(check.advice != nil)
    }
  }
}
