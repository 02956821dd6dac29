import Testing

@testable import IgniteNetwork

@Suite struct PublishedPortTests {
  @Test(arguments: [
    ("80", "?:80/tcp"), ("8080:80", "8080:80/tcp"), ("8080:80/tcp", "8080:80/tcp"), ("53:53/udp", "53:53/udp"),
    ("53:53/UDP", "53:53/udp"), (":80", "?:80/tcp"), ("127.0.0.1:8080:80", "127.0.0.1 8080:80/tcp"),
    ("127.0.0.1::80", "127.0.0.1 ?:80/tcp"), ("0.0.0.0:1:65535/udp", "0.0.0.0 1:65535/udp"),
    ("[::1]:8080:80", "::1 8080:80/tcp"), ("[::]::80", ":: ?:80/tcp"), ("[::1]:80", "::1 ?:80/tcp"),
    ("8000-8002:80-82", "8000:80/tcp 8001:81/tcp 8002:82/tcp"), ("90-91", "?:90/tcp ?:91/tcp"),
    ("10.0.0.1:8000-8001:80-81/udp", "10.0.0.1 8000:80/udp 10.0.0.1 8001:81/udp"), ("080:0080", "80:80/tcp"),
  ])
  func isRead(_ text: String, _ expected: String) throws {
    let ports = try PublishedPort.parse(text)
    let shown = ports.map { port in
      (port.address.map { "\($0) " } ?? "") + (port.hostPort.map(String.init) ?? "?")
        + ":\(port.vmPort)/\(port.transport.rawValue)"
    }
    #expect(shown.joined(separator: " ") == expected)
    // And back again.
    for port in ports { #expect(try PublishedPort.parse(port.specification) == [port]) }
  }

  @Test(arguments: [
    ("", "VM's port is no number"), (":", "VM's port is no number"), ("0", "no number from 1 to 65535"),
    ("65536", "no number"), ("80:0", "no number"), ("80:", "VM's port"), ("a:80", "host's port is no number"),
    ("-1:80", "host's port"), ("80:80:80", "no IPv4 address"), ("1.2.3:80:80", "no IPv4 address"),
    ("1.2.3.4:5:6:7", "too many colons"), ("::80", "the address is empty"), ("localhost:8080:80", "no IPv4 address"),
    ("80/sctp", "SCTP is not carried"), ("80/", "not tcp or udp"), ("80/tcp/udp", "VM's port"),
    ("[::1:80:80", "bracket is not closed"), ("[::1]", "no port after"), ("[1.2.3.4]:80:80", "no IPv6 address"),
    ("[::1]80:80", "no port after"), ("8000-8001:80", "different lengths"), ("80:80-81", "different lengths"),
    ("81-80", "ends before it begins"), ("1-65535", "more than 1024"), ("+80", "no number"), ("8 0", "no number"),
    ("٨٠", "no number"), ("80-", "no number"), ("-", "no number"), ("1-2-3", "no number"), ("80\u{0}", "no number"),
    (String(repeating: "1", count: 300), "too long"),
  ])
  func isRefused(_ text: String, _ reason: String) {
    let error = #expect(throws: NetworkError.self) { try PublishedPort.parse(text) }
    #expect(error?.code == .invalidPort)
    #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    #expect(error?.advice != nil)
  }

  @Test func anyTextIsReadOrRefused() {
    let alphabet = Array("0123456789:::...---//[]tcpudp ٨\u{0}é".unicodeScalars)
    var read = 0
    for _ in 0..<20_000 {
      var text = ""
      for _ in 0..<Int.random(in: 0...12) { text.unicodeScalars.append(alphabet[Int.random(in: 0..<alphabet.count)]) }
      guard let ports = try? PublishedPort.parse(text) else { continue }
      read += 1
      #expect(!ports.isEmpty && ports.count <= PublishedPort.maximumRange)
      for port in ports { #expect(port.vmPort > 0 && port.hostPort != 0) }
    }
    #expect(read > 0)
  }

  @Test func itIsShownAsDockerShowsIt() throws {
    #expect(try PublishedPort.parse("8080:80").map(\.description) == ["0.0.0.0:8080->80/tcp"])
    #expect(try PublishedPort.parse("[::1]:8080:80/udp").map(\.description) == ["[::1]:8080->80/udp"])
  }
}
