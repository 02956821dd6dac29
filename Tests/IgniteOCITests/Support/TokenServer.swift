import Foundation

/// `scripts/token-server`, and a registry that trusts it.
final class TokenServer: Sendable {
  let authority: String
  let registry: DockerRegistry
  private let server: TestServer
  private let scratch: TestDirectory

  /// The file may be reached by a link from another target's tests.
  private static let script = (#filePath.components(separatedBy: "/Tests/").first ?? "") + "/scripts/token-server"

  init() async throws {
    scratch = try TestDirectory()
    let (key, certificate) = (scratch.file("key.pem"), scratch.file("cert.pem"))
    try await tool([
      "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test tokens", "-keyout",
      key,
      "-out", certificate,
    ])
    server = try await TestServer(
      [Self.script, key, certificate, "test-issuer", "test-service"], readiness: "\n", scratch: scratch)
    authority = "127.0.0.1:" + (server.greeting.split(separator: "\n").first ?? "0")
    var options = DockerRegistry.Options()
    options.tokens = ("http://\(authority)/token", "test-service", "test-issuer", certificate)
    registry = try await DockerRegistry(options)
  }
}
