import Foundation
import Testing

@testable import IgniteOCI

/// HTTPS, with authorities made for the test. A registry that is not on loopback by its name is spoken to by HTTPS only.
@Suite struct SecureRegistryTests {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  private func source(_ host: String, _ server: String, trusting authority: String?) throws -> RegistrySource {
    var configuration = RegistryClient.Configuration.fast
    configuration.trustedCertificates = authority
    configuration.addresses = [host: "127.0.0.1"]
    let port = server.split(separator: ":").last ?? ""
    return RegistrySource(try Reference("\(host):\(port)/app:1"), client: RegistryClient(configuration: configuration))
  }

  @Test func trustedAndNot() async throws {
    let ca = try await TestAuthority(in: scratch)
    let authority = ca.certificate
    let (certificate, key) = try await ca.issue("registry", "DNS:registry.test")
    let registry = try await DockerRegistry(certificate: certificate, key: key)
    // The registry is empty: what it does not know can only be told over a connection that stands.
    let trusted = await #expect(throws: OCIError.self) {
      try await source("registry.test", registry.authority, trusting: authority).resolve(platform: .host)
    }
    #expect(trusted?.code == .notFound)
    let untrusted = await #expect(throws: OCIError.self) {
      try await source("registry.test", registry.authority, trusting: nil).resolve(platform: .host)
    }
    #expect(untrusted?.code == .tls)
    #expect(untrusted?.message.contains("no authority that this machine trusts") == true, "\(untrusted?.message ?? "")")
    let renamed = await #expect(throws: OCIError.self) {
      try await source("other.test", registry.authority, trusting: authority).resolve(platform: .host)
    }
    #expect(renamed?.code == .tls)
    #expect(renamed?.message.contains("for another name") == true, "\(renamed?.message ?? "")")
    let unreadable = await #expect(throws: OCIError.self) {
      try await source("registry.test", registry.authority, trusting: scratch.file("none")).resolve(platform: .host)
    }
    #expect(unreadable?.code == .tls)
    #expect(unreadable?.message.contains("cannot be read") == true, "\(unreadable?.message ?? "")")
  }

  @Test func plainWhereSecureIsDue() async throws {
    let server = try FakeServer { _, connection in connection.answer(200) }
    defer { server.stop() }
    // The fake waits for a request's end, which a TLS greeting never brings: any error will do, none may succeed.
    let task = Task {
      var configuration = RegistryClient.Configuration.impatient
      configuration.connectTimeout = .seconds(1)
      configuration.addresses = ["registry.test": "127.0.0.1"]
      return try await RegistrySource(
        try Reference("registry.test:\(server.port)/app:1"), client: RegistryClient(configuration: configuration)
      ).resolve(platform: .host)
    }
    let error = await #expect(throws: OCIError.self) { try await task.value }
    #expect(error?.code == .tls || error?.code == .unreachable)
    #expect(server.requests.isEmpty)
  }

  @Test func downgradeByRedirect() async throws {
    let plain = try #require(URL(string: "http://127.0.0.1/x"))
    let secure = try #require(URL(string: "https://registry.test/x"))
    #expect(plain.isPermitted(downgradeFrom: nil) && plain.isPermitted(downgradeFrom: plain))
    #expect(!plain.isPermitted(downgradeFrom: secure))
    #expect(secure.isPermitted(downgradeFrom: plain))
  }

  /// What is said of a registry by its user: which authority, which certificate of ours, or that nothing matters.
  @Test func settingsOfARegistry() async throws {
    let ca = try await TestAuthority(in: scratch)
    let (certificate, key) = try await ca.issue("registry", "IP:127.0.0.1,DNS:localhost")
    let registry = try await DockerRegistry(certificate: certificate, key: key)
    // Loopback is spoken to in plain HTTP unless something else is said.
    #expect(try await failure(registry.authority, nil)?.code == .badResponse)
    var settings = RegistrySettings(host: registry.authority)
    settings.insecure = false
    #expect(try await failure(registry.authority, settings)?.code == .tls)
    settings.ca = ca.certificate
    #expect(try await failure(registry.authority, settings)?.code == .notFound)
    settings = RegistrySettings(host: registry.authority)
    settings.insecure = true
    #expect(try await failure(registry.authority, settings)?.code == .notFound)
    settings.ca = scratch.file("none")
    let unreadable = try await failure(registry.authority, settings)
    #expect(unreadable?.code == .fileSystem)
    #expect(unreadable?.message.contains(scratch.file("none")) == true)
    settings.ca = key
    #expect(try await failure(registry.authority, settings)?.message == "\(key) holds no certificate")
  }

  @Test func insecureMayBePlain() async throws {
    let registry = try await DockerRegistry()
    let port = registry.authority.split(separator: ":").last ?? ""
    #expect(try await failure("registry.test:\(port)", nil)?.code == .tls)
    var settings = RegistrySettings(host: "registry.test:\(port)")
    settings.insecure = true
    #expect(try await failure("registry.test:\(port)", settings)?.code == .notFound)
  }

  @Test func clientCertificates() async throws {
    let ca = try await TestAuthority(in: scratch)
    let (certificate, key) = try await ca.issue("registry", "DNS:registry.test")
    let mine = try await ca.issue("me", "email:me@example.test")
    var options = DockerRegistry.Options()
    (options.certificate, options.key, options.clientAuthority) = (certificate, key, ca.certificate)
    let registry = try await DockerRegistry(options)
    let host = "registry.test:\(registry.authority.split(separator: ":").last ?? "")"

    var settings = RegistrySettings(host: host)
    settings.ca = ca.certificate
    let without = try await failure(host, settings)
    #expect(without?.code == .tls)
    #expect(without?.message.contains("wants a client certificate") == true, "\(without?.message ?? "")")
    (settings.clientCertificate, settings.clientKey) = (mine.certificate, mine.key)
    #expect(try await failure(host, settings)?.code == .notFound)

    // The same from folders, as Docker and Podman have them.
    let folder = scratch.file("certs.d/\(host)")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (from, to) in [(ca.certificate, "ca.crt"), (mine.certificate, "client.cert"), (mine.key, "client.key")] {
      try FileManager.default.copyItem(atPath: from, toPath: "\(folder)/\(to)")
    }
    #expect(try await failure(host, nil, folders: [scratch.file("certs.d")])?.code == .notFound)
    try FileManager.default.removeItem(atPath: "\(folder)/client.key")
    let halved = try await failure(host, nil, folders: [scratch.file("certs.d")])
    #expect(halved?.message.contains("client.key") == true)
  }

  /// The failure of asking an empty registry: `notFound` is told only by one that was reached.
  private func failure(_ host: String, _ settings: RegistrySettings?, folders: [String] = []) async throws -> OCIError?
  {
    var configuration = RegistryClient.Configuration.fast
    configuration.registries = settings.map { [$0] } ?? []
    configuration.certificateFolders = folders
    configuration.addresses = ["registry.test": "127.0.0.1"]
    configuration.tries = 1
    let source = RegistrySource(try Reference("\(host)/app:1"), client: RegistryClient(configuration: configuration))
    do {
      _ = try await source.resolve(platform: .host)
      return nil
    } catch { return error }
  }

  @Test(arguments: [
    (#"{"host":"a b"}"#, "host name"), (#"{"host":"h","clientKey":"/k"}"#, "without a certificate"),
    (#"{"host":"h","ca":"ca.pem"}"#, "absolute"), (#"{"host":"h","mirrors":["ftp://m"]}"#, "ftp"),
    (#"{"host":"h","mirrors":["https://u:p@m"]}"#, "more than"), (#"{"host":"h","mirrors":["https://m/UP"]}"#, "lower"),
    (#"{"host":"h","proxy":"https://p"}"#, "kind"), (#"{"host":"h","proxy":"http://p:0"}"#, "port"),
  ])
  func settingsThatCannotBe(json: String, word: String) throws {
    var fields = try #require(JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    if fields["mirrors"] == nil { fields["mirrors"] = [String]() }
    let settings = try JSONDecoder().decode(
      RegistrySettings.self, from: JSONSerialization.data(withJSONObject: fields))
    let error = #expect(throws: OCIError.self) { try settings.check() }
    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
  }
}
