import Foundation
import IgniteOCI
import Testing

/// Tokens and redirects.
@Suite struct RegistryAccessTests {
  static let bearer = "Bearer opaque-token"

  private func source(_ server: FakeServer) throws -> RegistrySource {
    RegistrySource(try Reference("\(server.authority)/team/app:1"), client: RegistryClient(configuration: .fast))
  }

  /// Answers like a registry that wants a token of `auth`.
  private static func guarded(
    _ auth: FakeServer, _ request: FakeServer.Request, _ connection: FakeServer.Connection, _ answer: () -> Void
  ) {
    guard request.headers["authorization"] == bearer else {
      let challenge =
        #"Bearer realm="http://\#(auth.authority)/token?x=1",service="reg",scope="repository:team/app:pull""#
      connection.answer(401, ["WWW-Authenticate": challenge])
      return
    }
    answer()
  }

  @Test func anonymousToken() async throws {
    let manifest = try HostileRegistryTests.manifest()
    let auth = try FakeServer { _, connection in
      connection.answer(200, [:], #"{"access_token":"opaque-token","expires_in":300}"#)
    }
    let server = try FakeServer { request, connection in
      Self.guarded(auth, request, connection) {
        if request.target.contains("/manifests/") { connection.answer(200, [:], manifest) }
        if request.target.contains("/blobs/") { connection.answer(200, [:], HostileRegistryTests.blob) }
      }
    }
    defer { auth.stop() }
    defer { server.stop() }
    let source = try source(server)
    _ = try await source.resolve(platform: .host)
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    // One token serves all requests to the repository, and is asked for without credentials.
    #expect(auth.requests.map(\.target) == ["/token?x=1&service=reg&scope=repository%3Ateam%2Fapp%3Apull"])
    #expect(auth.requests.allSatisfy { $0.headers["authorization"] == nil })
    #expect(server.requests.map { $0.headers["authorization"] } == [nil, Self.bearer, Self.bearer])
    #expect(server.requests.allSatisfy { $0.headers["user-agent"]?.hasPrefix("ignite/") == true })
    #expect(server.requests.first?.headers["accept"]?.contains(MediaType.dockerList) == true)
  }

  @Test func refusedToken() async throws {
    let auth = try FakeServer { _, connection in connection.answer(403) }
    let server = try FakeServer { request, connection in Self.guarded(auth, request, connection) {} }
    defer { auth.stop() }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .denied)
  }

  @Test func uselessToken() async throws {
    let auth = try FakeServer { _, connection in connection.answer(200, [:], #"{"token":"wrong"}"#) }
    let server = try FakeServer { request, connection in Self.guarded(auth, request, connection) {} }
    defer { auth.stop() }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .denied)
    #expect(server.requests.count == 2)
  }

  @Test(arguments: ["{}", #"{"token":""}"#, #"{"token":"a\r\nX: y"}"#, "no JSON"])
  func brokenToken(_ body: String) async throws {
    let auth = try FakeServer { _, connection in connection.answer(200, [:], body) }
    let server = try FakeServer { request, connection in Self.guarded(auth, request, connection) {} }
    defer { auth.stop() }
    defer { server.stop() }
    await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(server.requests.count == 1)
  }

  @Test(arguments: ["http://example.invalid/token", "ftp://127.0.0.1/", "http://user:pass@127.0.0.1/", "token", ""])
  func insecureRealm(_ realm: String) async throws {
    let server = try FakeServer { _, connection in
      connection.answer(401, ["WWW-Authenticate": #"Bearer realm="\#(realm)""#])
    }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .badResponse)
  }

  @Test func basicOnly() async throws {
    let server = try FakeServer { _, connection in connection.answer(401, ["WWW-Authenticate": #"Basic realm="x""#]) }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .denied)
  }

  @Test func redirectsLeakNoCredential() async throws {
    let storage = try FakeServer { _, connection in connection.answer(200, [:], HostileRegistryTests.blob) }
    let auth = try FakeServer { _, connection in connection.answer(200, [:], #"{"token":"opaque-token"}"#) }
    let server = try FakeServer { request, connection in
      Self.guarded(auth, request, connection) {
        if request.target.hasSuffix("/moved") {
          connection.answer(307, ["Location": "http://\(storage.authority)/data?sig=1"])
        } else {
          connection.answer(302, ["Location": "/moved"])
        }
      }
    }
    defer { auth.stop() }
    defer { storage.stop() }
    defer { server.stop() }
    #expect(try await source(server).open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    #expect(storage.requests.map(\.target) == ["/data?sig=1"])
    #expect(storage.requests.map { $0.headers["authorization"] } == [nil])
    // On its own server the token stays.
    #expect(server.requests.map { $0.headers["authorization"] } == [nil, Self.bearer, Self.bearer])
  }

  @Test(arguments: ["http://example.invalid/x", "file:///etc/passwd", "http://u:p@127.0.0.1/"])
  func insecureRedirects(_ location: String) async throws {
    let server = try FakeServer { _, connection in connection.answer(307, ["Location": location]) }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .badResponse)
    #expect(server.requests.count == 1)
  }

  @Test func endlessRedirects() async throws {
    let server = try FakeServer { _, connection in connection.answer(307, ["Location": "/again"]) }
    defer { server.stop() }
    let error = await #expect(throws: OCIError.self) { try await source(server).resolve(platform: .host) }
    #expect(error?.code == .badResponse)
    #expect(server.requests.count == 11)
  }
}
