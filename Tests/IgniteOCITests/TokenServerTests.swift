import Foundation
import Testing

@testable import IgniteOCI

/// Against docker-registry and a token server that signs what the registry checks.
@Suite struct TokenServerTests {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  static let password = "secret: with a colon"

  private func image(_ layout: inout TestLayout) async throws -> (image: Descriptor, layer: Descriptor) {
    let layer = try await layout.layer(["data": Array("behind a token".utf8)])
    let image = try layout.image([layer])
    try layout.list(image, tag: "v1")
    return (image, layer.descriptor)
  }

  @Test func pullsAndPushes() async throws {
    let server = try await TokenServer()
    let host = server.registry.authority
    var layout = try TestLayout(scratch.file("l"))
    let (image, layer) = try await image(&layout)
    let stored = layout
    let alice = try RegistryClient.knowing([host: "alice:\(Self.password)"], scratch)

    // What nobody may do: the token says so, and the registry.
    let nobody = RegistryClient(configuration: .fast)
    let manifest = [UInt8](try Data(contentsOf: URL(fileURLWithPath: layout.blobPath(image.digest))))
    let refused = await #expect(throws: OCIError.self) {
      try await RegistryPush(to: Reference("\(host)/public/app:1"), client: nobody).push(manifest: manifest) {
        FileBlobReader(path: stored.blobPath($0.digest))
      }
    }
    #expect(refused?.code == .denied)
    #expect(refused?.advice?.contains("ignite login \(host)") == true, "\(String(describing: refused))")

    for name in ["public/app:1", "private/app:1"] {
      let digest = try await RegistryPush(to: Reference("\(host)/\(name)"), client: alice).push(manifest: manifest) {
        FileBlobReader(path: stored.blobPath($0.digest))
      }
      #expect(digest == image.digest)
    }
    func pull(_ name: String, _ client: RegistryClient) async throws -> Digest {
      let source = RegistrySource(try Reference("\(host)/\(name)"), client: client)
      let resolved = try await source.resolve(platform: .host)
      #expect(Digest.sha256(of: try await source.open(layer).all()) == layer.digest)
      return resolved.descriptor.digest
    }
    #expect(try await pull("public/app:1", nobody) == image.digest)
    #expect(try await pull("private/app:1", alice) == image.digest)
    let denied = await #expect(throws: OCIError.self) { try await pull("private/app:1", nobody) }
    #expect(denied?.code == .denied)
    #expect(denied?.message.contains("refuses access to private/app") == true, "\(denied?.message ?? "")")
    let wrong = try RegistryClient.knowing([host: "alice:guess"], scratch)
    let guessed = await #expect(throws: OCIError.self) { try await pull("private/app:1", wrong) }
    #expect(guessed?.message == "\(server.authority) refuses the credentials for \(host)")
  }

  /// An identity token is changed for others by POST.
  @Test func refreshTokens() async throws {
    let server = try await TokenServer()
    let host = server.registry.authority
    func client(_ token: String) throws -> RegistryClient {
      let path = scratch.file("auth.json")
      try #"{"auths":{"\#(host)":{"identitytoken":"\#(token)"}}}"#.write(
        toFile: path, atomically: true, encoding: .utf8)
      var configuration = RegistryClient.Configuration.fast
      configuration.credentials = CredentialStore(environment: ["REGISTRY_AUTH_FILE": path])
      return RegistryClient(configuration: configuration)
    }
    // Empty, the registry says so only to those that may look.
    let allowed = await #expect(throws: OCIError.self) {
      try await RegistrySource(Reference("\(host)/private/app:1"), client: client("refresh-of-alice"))
        .resolve(platform: .host)
    }
    #expect(allowed?.code == .notFound)
    let refused = await #expect(throws: OCIError.self) {
      try await RegistrySource(Reference("\(host)/private/app:1"), client: client("stolen")).resolve(platform: .host)
    }
    #expect(refused?.code == .denied)
  }

  @Test func loginsAreChecked() async throws {
    let server = try await TokenServer()
    let client = RegistryClient(configuration: .fast)
    let host = server.registry.authority
    try await client.verify(user: "alice", password: Self.password, registry: host)
    let wrong = await #expect(throws: OCIError.self) {
      try await client.verify(user: "alice", password: "guess", registry: host)
    }
    #expect(wrong?.code == .denied)

    let basic = try await DockerRegistry(CredentialTests.guarded(scratch))
    try await client.verify(user: "me", password: "pass word", registry: basic.authority)
    let guess = await #expect(throws: OCIError.self) {
      try await client.verify(user: "me", password: "guess", registry: basic.authority)
    }
    #expect(guess?.message == "\(basic.authority) refuses the user name or the password")
    let split = await #expect(throws: OCIError.self) {
      try await client.verify(user: "a:b", password: "x", registry: basic.authority)
    }
    #expect(split?.code == .denied)
    let open = try await DockerRegistry()
    try await client.verify(user: "any", password: "thing", registry: open.authority)
    let absent = await #expect(throws: OCIError.self) {
      try await client.verify(user: "a", password: "b", registry: "127.0.0.1:\(TestServer.freePort())")
    }
    #expect(absent?.code == .unreachable)
  }
}
