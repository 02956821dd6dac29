import Foundation
import Testing

@testable import IgniteOCI

/// HTTPS, with authorities made for the test. A registry that is not on loopback by its name is spoken to by HTTPS only.
@Suite struct SecureRegistryTests {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  /// Makes an authority and a certificate of it for `registry.test`.
  private func certificates() async throws -> (authority: String, certificate: String, key: String) {
    let (ca, caKey) = (scratch.file("ca.pem"), scratch.file("ca.key"))
    let (certificate, key, request) = (scratch.file("cert.pem"), scratch.file("cert.key"), scratch.file("cert.csr"))
    try await tool([
      "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
      "-subj", "/CN=Test CA", "-keyout", caKey, "-out", ca,
    ])
    try await tool([
      "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=registry.test",
      "-addext", "subjectAltName=DNS:registry.test", "-keyout", key, "-out", request,
    ])
    try await tool([
      "openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", caKey, "-CAcreateserial", "-days", "2",
      "-copy_extensions", "copy", "-out", certificate,
    ])
    return (ca, certificate, key)
  }

  private func source(_ host: String, _ server: String, trusting authority: String?) throws -> RegistrySource {
    var configuration = RegistryClient.Configuration.fast
    configuration.trustedCertificates = authority
    configuration.addresses = [host: "127.0.0.1"]
    let port = server.split(separator: ":").last ?? ""
    return RegistrySource(try Reference("\(host):\(port)/app:1"), client: RegistryClient(configuration: configuration))
  }

  @Test func trustedAndNot() async throws {
    let (authority, certificate, key) = try await certificates()
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
}
