import Foundation
import Testing

@testable import IgniteOCI

/// Mirrors: in their order, then the registry itself.
@Suite struct MirrorTests {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  private func source(_ name: String, mirrors: [String], client: RegistryClient? = nil) throws -> RegistrySource {
    let reference = try Reference(name)
    var configuration = client?.configuration ?? .fast
    var settings = RegistrySettings(host: reference.registry)
    settings.mirrors = mirrors
    configuration.registries = [settings]
    return RegistrySource(reference, client: RegistryClient(configuration: configuration))
  }

  /// Debian's docker-registry as a pull-through cache of another one.
  @Test func aRealMirror() async throws {
    let registry = try await DockerRegistry()
    let mirror = try await DockerRegistry(remote: "http://\(registry.authority)")
    var layout = try TestLayout(scratch.file("l"))
    let layer = try await layout.layer(["data": Array("the same in both".utf8)])
    let image = try layout.image([layer])
    try layout.list(image, tag: "v1")
    try await registry.push(layout, tag: "v1", as: "team/app:1")
    let before = try await registry.accesses().count

    let source = try source("\(registry.authority)/team/app:1", mirrors: [mirror.authority])
    let resolved = try await source.resolve(platform: .host)
    #expect(resolved.descriptor.digest == image.digest)
    #expect(Digest.sha256(of: try await source.open(layer.descriptor).all()) == layer.descriptor.digest)
    // All came by the mirror; what the registry was asked for, the mirror asked.
    let mirrored = try await mirror.accesses().map(\.request)
    #expect(mirrored == ["GET /v2/team/app/manifests/1", "GET /v2/team/app/blobs/\(layer.descriptor.digest)"])
    #expect(try await registry.accesses().count > before)
  }

  @Test func whatAMirrorLacksComesFromTheRegistry() async throws {
    let registry = try await DockerRegistry()
    let empty = try await DockerRegistry()
    let lost = try TestServer.freePort()
    var layout = try TestLayout(scratch.file("l"))
    let layer = try await layout.layer(["data": [1, 2, 3]])
    let image = try layout.image([layer])
    try layout.list(image, tag: "v1")
    try await registry.push(layout, tag: "v1", as: "app:1")
    let source = try source(
      "\(registry.authority)/app:1", mirrors: ["http://127.0.0.1:\(lost)", "http://\(empty.authority)/cache"])
    #expect(try await source.resolve(platform: .host).descriptor.digest == image.digest)
    #expect(try await source.currentDigest() == image.digest)
    #expect(Digest.sha256(of: try await source.open(layer.descriptor).all()) == layer.descriptor.digest)
    #expect(
      try await empty.accesses().map(\.request) == ["GET /v2/cache/app/manifests/1", "HEAD /v2/cache/app/manifests/1"])
    let other = try self.source("\(registry.authority)/other:1", mirrors: ["http://\(empty.authority)/cache"])
    let error = await #expect(throws: OCIError.self) { try await other.resolve(platform: .host) }
    #expect(error?.code == .notFound)
    #expect(error?.message.contains("its mirror \(empty.authority): ") == true, "\(error?.message ?? "")")
  }

  /// A mirror that lies about a manifest's digest, or a blob's size, is passed over.
  @Test func liesArePassedOver() async throws {
    let blob = HostileRegistryTests.blob
    let descriptor = HostileRegistryTests.descriptor
    let manifest = try HostileRegistryTests.manifest()
    let liar = try FakeServer { request, connection in
      if request.target.contains("/manifests/") { return connection.answer(200, [:], "{}") }
      connection.answer(200, [:], [1, 2, 3])
    }
    let server = try FakeServer { request, connection in
      connection.answer(200, [:], request.target.contains("/manifests/") ? manifest : blob)
    }
    defer { for fake in [liar, server] { fake.stop() } }
    let digest = Digest.sha256(of: manifest)
    let source = try source("\(server.authority)/app@\(digest)", mirrors: [liar.authority])
    #expect(try await source.resolve(platform: .host).descriptor.digest == digest)
    #expect(try await source.open(descriptor).all() == blob)
    #expect(liar.requests.count == 1)
    let fresh = try self.source("\(server.authority)/app@\(digest)", mirrors: [liar.authority])
    #expect(try await fresh.open(descriptor).all() == blob)
    #expect(liar.requests.count == 2)
  }

  /// A blob that a mirror gives up in its middle goes on at the registry, where it stopped.
  @Test func aBlobGoesOnElsewhere() async throws {
    let blob = HostileRegistryTests.blob
    let half = try FakeServer { request, connection in
      guard request.headers["range"] == nil else { return connection.answer(404) }
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(blob.count)\r\n\r\n")
      connection.send(Array(blob.prefix(130_000)))
      connection.hangUp()
    }
    let server = try FakeServer { request, connection in
      guard let start = request.headers["range"].flatMap({ Int($0.dropFirst(6).dropLast()) }) else {
        return connection.answer(200, [:], blob)
      }
      connection.answer(206, ["Content-Range": "bytes \(start)-\(blob.count - 1)/\(blob.count)"], Array(blob[start...]))
    }
    defer { for fake in [half, server] { fake.stop() } }
    let source = try source("\(server.authority)/app:1", mirrors: [half.authority])
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == blob)
    #expect(server.requests.count == 1)
  }

  @Test func aMirrorGetsNoCredentialsOfTheRegistry() async throws {
    let basic = "Basic \(Data("me:word".utf8).base64EncodedString())"
    let mirror = try FakeServer { _, connection in
      connection.answer(401, ["WWW-Authenticate": #"Basic realm="x""#])
    }
    let server = try FakeServer { request, connection in
      guard request.headers["authorization"] == basic else {
        return connection.answer(401, ["WWW-Authenticate": #"Basic realm="x""#])
      }
      connection.answer(200, [:], HostileRegistryTests.blob)
    }
    defer { for fake in [mirror, server] { fake.stop() } }
    let known = try RegistryClient.knowing([server.authority: "me:word"], scratch)
    let source = try source("\(server.authority)/app:1", mirrors: [mirror.authority], client: known)
    #expect(try await source.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    #expect(mirror.requests.map { $0.headers["authorization"] } == [nil])
    // One with credentials of its own is given those.
    let both = try RegistryClient.knowing([server.authority: "me:word", mirror.authority: "you:other"], scratch)
    let again = try self.source("\(server.authority)/app:1", mirrors: [mirror.authority], client: both)
    #expect(try await again.open(HostileRegistryTests.descriptor).all() == HostileRegistryTests.blob)
    let own = "Basic \(Data("you:other".utf8).base64EncodedString())"
    #expect(mirror.requests.map { $0.headers["authorization"] } == [nil, nil, own])
  }
}

extension DockerRegistry {
  convenience init(remote: String) async throws {
    var options = Options()
    options.remote = remote
    try await self.init(options)
  }
}
