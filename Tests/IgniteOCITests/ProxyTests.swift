import Foundation
import Testing

@testable import IgniteOCI

/// Which requests go through which proxy.
@Suite struct ProxyTests {
  @Test(arguments: [
    ("*", true), ("registry.test", true), (".test", true), ("test", true), ("*.test", true), ("try.test", false),
    (".registry.test", false), ("registry.test:443", true), ("registry.test:80", false), ("est", false), ("", false),
    ("10.0.0.0/8", false),
  ])
  func exceptionsByName(entry: String, matches: Bool) {
    #expect(ProxyEnvironment.matches(entry, host: "registry.test", port: 443) == matches)
  }

  @Test(arguments: [
    ("10.1.2.3", true), ("10.1.2.3:5000", true), ("10.1.2.3:443", false), ("10.0.0.0/8", true), ("10.1.2.4/31", false),
    ("10.1.2.2/31", true), ("11.0.0.0/8", false), ("0.0.0.0/0", true), ("10.0.0.0/33", false), ("::/0", false),
    ("10.0.0.0/x", false),
  ])
  func exceptionsByAddress(entry: String, matches: Bool) {
    #expect(ProxyEnvironment.matches(entry, host: "10.1.2.3", port: 5000) == matches)
  }

  @Test func exceptionsByLongAddress() {
    for (entry, matches) in [("fd00::/8", true), ("[fd00::1]:5000", true), ("[fd00::1]:1", false), ("fd00:0::1", true)]
    {
      #expect(ProxyEnvironment.matches(entry, host: "fd00::1", port: 5000) == matches, "\(entry)")
    }
  }

  @Test func theEnvironmentNamesProxies() throws {
    func proxy(_ variables: [String: String], _ url: String) throws -> String? {
      try ProxyEnvironment(variables).proxy(for: #require(URL(string: url)))?.name
    }
    let both = ["HTTPS_PROXY": "http://s.test:1", "http_proxy": "p.test:2", "no_proxy": "in.test, 10.0.0.0/8"]
    #expect(try proxy(both, "https://r.test/v2/") == "s.test:1")
    #expect(try proxy(both, "http://r.test/v2/") == "p.test:2")
    #expect(try proxy(both, "https://in.test/") == nil)
    #expect(try proxy(both, "https://10.2.3.4:5000/") == nil)
    #expect(try proxy(["https_proxy": "s.test"], "https://r.test/") == "s.test:80")
    #expect(try proxy(["HTTPS_PROXY": "", "https_proxy": "s.test:3"], "https://r.test/") == "s.test:3")
    // This machine is never asked for elsewhere.
    for host in ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"] {
      #expect(try proxy(["HTTPS_PROXY": "s.test:1", "HTTP_PROXY": "s.test:1"], "https://\(host)/") == nil)
    }
    let error = #expect(throws: OCIError.self) {
      try proxy(["HTTPS_PROXY": "socks5://u:hush@s.test"], "https://r.test/")
    }
    #expect(error?.message.contains("hush") == false && error?.message.hasPrefix("HTTPS_PROXY") == true)
  }

  /// Against Debian's tinyproxy: TLS and plain HTTP, with and without the credentials that it wants.
  @Test func aRealProxy() async throws {
    let scratch = try TestDirectory()
    let ca = try await TestAuthority(in: scratch)
    let (certificate, key) = try await ca.issue("registry", "DNS:localhost")
    let secure = try await DockerRegistry(certificate: certificate, key: key)
    let plain = try await DockerRegistry()
    let proxy = try await TestProxy(user: "me", password: "p-w")
    let port = secure.authority.split(separator: ":").last ?? ""
    func failure(_ host: String, _ url: String?, secure: Bool) async throws -> OCIError? {
      var settings = RegistrySettings(host: host)
      if secure { settings.ca = ca.certificate }
      settings.proxy = url
      var configuration = RegistryClient.Configuration.fast
      configuration.registries = [settings]
      let source = RegistrySource(try Reference("\(host)/app:1"), client: RegistryClient(configuration: configuration))
      do {
        _ = try await source.resolve(platform: .host)
        return nil
      } catch { return error }
    }
    let url = "http://me:%70-w@127.0.0.1:\(proxy.port)"
    #expect(try await failure("localhost:\(port)", url, secure: true)?.code == .notFound)
    #expect(try await failure(plain.authority, url, secure: false)?.code == .notFound)
    #expect(try proxy.connections() == ["localhost:\(port)", plain.authority])
    #expect(try await failure("localhost:\(port)", "none", secure: true)?.code == .notFound)
    #expect(try proxy.connections().count == 2)
    let refused = try await failure("localhost:\(port)", "http://127.0.0.1:\(proxy.port)", secure: true)
    #expect(refused?.code == .denied)
    #expect(refused?.message.contains("the proxy 127.0.0.1:\(proxy.port) wants credentials") == true)
    let free = try TestServer.freePort()
    let absent = try await failure("localhost:\(port)", "http://127.0.0.1:\(free)", secure: true)
    #expect(absent?.message == "cannot reach the proxy 127.0.0.1:\(free): connection refused")
  }
}
