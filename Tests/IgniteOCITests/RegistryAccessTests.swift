import Foundation
import IgniteOCI
import Synchronization
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

  /// A token that has run out on its way is replaced once, without a question to anybody else.
  @Test func renewsATokenThatIsRefused() async throws {
    let auth = try FakeServer { _, connection in connection.answer(200, [:], #"{"token":"opaque-token"}"#) }
    let blob = HostileRegistryTests.blob
    let answered = Mutex(0)
    let server = try FakeServer { request, connection in
      Self.guarded(auth, request, connection) {
        // The second request with a token is refused although it is the same.
        let number = answered.withLock { count in
          count += 1
          return count
        }
        guard number == 2 else { return connection.answer(200, [:], blob) }
        connection.answer(401, ["WWW-Authenticate": #"Bearer realm="http://\#(auth.authority)/token""#])
      }
    }
    defer { auth.stop() }
    defer { server.stop() }
    let source = try source(server)
    for _ in 0..<2 {
      // A token that is given again is no news: it is not shown twice.
      _ = try? await source.open(HostileRegistryTests.descriptor).all()
    }
    #expect(auth.requests.count == 2)
    #expect(server.requests.count == 3)
  }

  /// The user's password goes to the token server, and to nobody else.
  @Test func passwordsGoToTheTokenServerAlone() async throws {
    let storage = try FakeServer { _, connection in connection.answer(200, [:], HostileRegistryTests.blob) }
    let auth = try FakeServer { _, connection in connection.answer(200, [:], #"{"token":"opaque-token"}"#) }
    let server = try FakeServer { request, connection in
      Self.guarded(auth, request, connection) {
        connection.answer(307, ["Location": "http://localhost:\(storage.port)/data"])
      }
    }
    defer { for fake in [storage, auth, server] { fake.stop() } }
    let scratch = try TestDirectory()
    let client = try RegistryClient.knowing(["\(server.authority)": "me:pass:word"], scratch)
    let source = RegistrySource(try Reference("\(server.authority)/team/app:1"), client: client)
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    let basic = "Basic \(Data("me:pass:word".utf8).base64EncodedString())"
    #expect(auth.requests.map { $0.headers["authorization"] } == [basic])
    #expect(auth.requests.first?.target.contains("account=me") == true)
    #expect(server.requests.map { $0.headers["authorization"] } == [nil, Self.bearer])
    #expect(storage.requests.map { $0.headers["authorization"] } == [nil])
  }

  @Test func basicWhereItIsAskedFor() async throws {
    let basic = "Basic \(Data("me:word".utf8).base64EncodedString())"
    let server = try FakeServer { request, connection in
      guard request.headers["authorization"] == basic else {
        return connection.answer(401, ["WWW-Authenticate": #"Basic realm="x""#])
      }
      connection.answer(200, [:], HostileRegistryTests.blob)
    }
    defer { server.stop() }
    let scratch = try TestDirectory()
    let client = try RegistryClient.knowing([server.authority: "me:word"], scratch)
    let source = RegistrySource(try Reference("\(server.authority)/app:1"), client: client)
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    // Known once, it is not asked for again.
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    #expect(server.requests.map { $0.headers["authorization"] } == [nil, basic, basic])
    let wrong = try RegistryClient.knowing([server.authority: "me:other"], scratch)
    let error = await #expect(throws: OCIError.self) {
      try await RegistrySource(try Reference("\(server.authority)/app:1"), client: wrong).resolve(platform: .host)
    }
    #expect(error?.code == .denied)
    #expect(error?.message.contains("credentials that are stored") == true)
    #expect(error?.message.contains("other") == false)
  }
}

extension RegistryClient {
  /// A client whose user has credentials, by registry: `USER:PASSWORD`.
  static func knowing(_ credentials: [String: String], _ scratch: TestDirectory) throws -> RegistryClient {
    let entries = credentials.map { #""\#($0.key)":{"auth":"\#(Data($0.value.utf8).base64EncodedString())"}"# }
    let path = scratch.file("auth-\(UUID().uuidString).json")
    try #"{"auths":{\#(entries.joined(separator: ","))}}"#.write(toFile: path, atomically: true, encoding: .utf8)
    var configuration = RegistryClient.Configuration.fast
    configuration.credentials = CredentialStore(environment: ["REGISTRY_AUTH_FILE": path])
    return RegistryClient(configuration: configuration)
  }
}
