import Glibc
import IgniteSystem
import Testing

/// Published ports, and what a guest must not reach.
@Suite(.timeLimit(.minutes(5))) struct Ports {
  @Test func aPublishedPortServes() async throws {
    try await Ignite.with { ignite in
      let port = try LoopbackServer.freePort()
      _ = try await ignite.succeed(
        "run", "-d", "--name", "web", "-p", "127.0.0.1:\(port):80", Ignite.image, "sh", "-c",
        "mkdir /www && echo from-the-vm > /www/index.html && exec httpd -f -p 80 -h /www")
      #expect(try await ignite.succeed("ps").contains("127.0.0.1:\(port)->80/tcp"))
      // passt accepts before the server in the guest listens.
      var page = ""
      while !page.contains("from-the-vm") { page = LoopbackServer.get(port: port, path: "/index.html") ?? "" }
      #expect(page.hasPrefix("HTTP/1."))
    }
  }

  @Test func aPortThatIsTakenIsNamed() async throws {
    try await Ignite.with { ignite in
      let server = try LoopbackServer(answer: "x")
      let result = try await ignite("run", "-p", "127.0.0.1:\(server.port):80", Ignite.image, "true")
      #expect(result.status == 125)
      #expect(result.errorText.contains(String(server.port)))
      #expect(try await ignite.succeed("ps", "-a", "-q") == "")
    }
  }

  @Test func theHostsLoopbackIsClosed() async throws {
    try await Ignite.with { ignite in
      let server = try LoopbackServer(answer: "secret-of-the-host")
      #expect(LoopbackServer.get(port: server.port, path: "/")?.contains("secret-of-the-host") == true)
      _ = try await ignite.sleeper("--name", "one")
      for address in ["10.0.2.2", "127.0.0.1", "10.0.2.3", "10.0.2.15"] {
        let result = try await ignite(
          "exec", "one", "wget", "-T", "2", "-q", "-O", "-", "http://\(address):\(server.port)/")
        #expect(result.status != 0)
        #expect(!result.text.contains("secret"), "the guest reached the host's loopback by \(address)")
      }
    }
  }

  @Test func withoutPasstPublishedPortsAreAllThereIs() async throws {
    try await Ignite.with { ignite in
      let port = try LoopbackServer.freePort()
      let server = try LoopbackServer(answer: "secret-of-the-host")
      try await ignite.configure("network: {userMode: Restricted}\n")
      _ = try await ignite.succeed(
        "run", "-d", "--name", "web", "-p", "127.0.0.1:\(port):80", Ignite.image, "sh", "-c",
        "mkdir /www && echo from-the-vm > /www/index.html && exec httpd -f -p 80 -h /www")
      var page = ""
      while !page.contains("from-the-vm") { page = LoopbackServer.get(port: port, path: "/index.html") ?? "" }
      let result = try await ignite(
        "exec", "web", "wget", "-T", "2", "-q", "-O", "-", "http://10.0.2.2:\(server.port)/")
      #expect(!result.text.contains("secret"))
      #expect(try await ignite.succeed("inspect", "web").contains("OutboundNetwork"))
    }
  }
}
