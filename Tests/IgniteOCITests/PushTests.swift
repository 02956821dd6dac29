import Foundation
import Synchronization
import Testing

@testable import IgniteOCI

/// What is pushed is what was there, byte for byte; a registry that fails is told of.
@Suite struct PushTests {
  let scratch: TestDirectory
  let client: RegistryClient

  init() throws {
    scratch = try TestDirectory()
    var configuration = RegistryClient.Configuration.fast
    configuration.tries = 5
    client = RegistryClient(configuration: configuration)
  }

  private struct Image {
    var layout: TestLayout
    var digest: Digest
    var manifest: [UInt8]
    var layers: [Descriptor]

    var open: RegistryPush.Opening {
      let layout = layout
      return { (blob: Descriptor) async throws(OCIError) -> any BlobReader in
        FileBlobReader(path: layout.blobPath(blob.digest))
      }
    }
  }

  private func image(_ name: String, _ contents: [[UInt8]]) async throws -> Image {
    var layout = try TestLayout(scratch.file(name))
    var layers: [TestLayout.Layer] = []
    for (position, content) in contents.enumerated() {
      layers.append(try await layout.layer(["f\(position)": content]))
    }
    let image = try layout.image(layers)
    try layout.list(image, tag: "v1")
    return Image(
      layout: layout, digest: image.digest,
      manifest: [UInt8](try Data(contentsOf: URL(fileURLWithPath: layout.blobPath(image.digest)))),
      layers: layers.map(\.descriptor))
  }

  private static func noise(_ count: Int, _ seed: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: (($0 + seed) &* 2_654_435_761) >> 11) }
  }

  @Test func skopeoReadsWhatWePush() async throws {
    let registry = try await DockerRegistry()
    let image = try await image("one", [Self.noise(3_000_000, 1), Self.noise(10, 2)])
    let events = Mutex<[RegistryPush.Progress]>([])
    let target = try Reference("\(registry.authority)/team/app:1")
    let digest = try await RegistryPush(to: target, client: client).push(
      manifest: image.manifest, open: image.open, progress: { event in events.withLock { $0.append(event) } })
    #expect(digest == image.digest)
    let outcomes = events.withLock { $0 }
    #expect(outcomes.last == .manifest(digest))
    #expect(outcomes.contains(.blob(image.layers[0], .sent)))
    #expect(outcomes.contains(.sending(image.layers[0], done: image.layers[0].size)))
    let raw = try await tool([
      "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://\(registry.authority)/team/app:1",
    ])
    #expect(raw == image.manifest)
    // All of it comes back, as skopeo checks it.
    let back = scratch.file("back")
    try await tool([
      "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
      "docker://\(registry.authority)/team/app:1", "oci:\(back):v1",
    ])
    let index = try String(contentsOfFile: "\(back)/index.json", encoding: .utf8)
    #expect(index.contains(image.digest.hex))

    // A second time nothing is sent but the manifest.
    let before = try await registry.accesses().count
    try await RegistryPush(to: target, client: client).push(manifest: image.manifest, open: image.open)
    let again = try await registry.accesses().dropFirst(before).map { String($0.request.prefix { $0 != " " }) }
    #expect(again.sorted() == ["HEAD", "HEAD", "HEAD", "PUT"])
  }

  /// Layers that the registry has in another repository are not sent.
  @Test func layersAreMounted() async throws {
    let registry = try await DockerRegistry()
    let image = try await image("one", [Self.noise(100_000, 3)])
    let first = try Reference("\(registry.authority)/origin/app:1")
    try await RegistryPush(to: first, client: client).push(manifest: image.manifest, open: image.open)
    let before = try await registry.accesses().count
    let outcomes = Mutex<[RegistryPush.Outcome]>([])
    try await RegistryPush(
      to: Reference("\(registry.authority)/copy/app@\(image.digest)"), from: [first], client: client
    ).push(manifest: image.manifest, open: image.open) { event in
      if case .blob(_, let outcome) = event { outcomes.withLock { $0.append(outcome) } }
    }
    #expect(outcomes.withLock { $0 } == [.mounted, .mounted])
    let requests = try await registry.accesses().dropFirst(before).map(\.request)
    #expect(requests.filter { $0.hasPrefix("PUT") } == ["PUT /v2/copy/app/manifests/\(image.digest)"])
    let raw = try await tool([
      "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://\(registry.authority)/copy/app@\(image.digest)",
    ])
    #expect(raw == image.manifest)
  }

  @Test func overTLSWithAPassword() async throws {
    let ca = try await TestAuthority(in: scratch)
    let (certificate, key) = try await ca.issue("registry", "IP:127.0.0.1")
    var options = try await CredentialTests.guarded(scratch)
    (options.certificate, options.key) = (certificate, key)
    let registry = try await DockerRegistry(options)
    let image = try await image("one", [Self.noise(200_000, 4)])
    var configuration = try RegistryClient.knowing([registry.authority: "me:pass word"], scratch).configuration
    var settings = RegistrySettings(host: registry.authority)
    settings.ca = ca.certificate
    configuration.registries = [settings]
    let target = try Reference("\(registry.authority)/app:1")
    let secure = RegistryClient(configuration: configuration)
    try await RegistryPush(to: target, client: secure).push(manifest: image.manifest, open: image.open)
    #expect(try await RegistrySource(target, client: secure).currentDigest() == image.digest)
    let raw = try await tool([
      "skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", "me:pass word", "docker://\(target)",
    ])
    #expect(raw == image.manifest)
    configuration.credentials = CredentialStore(environment: [:])
    let stranger = await #expect(throws: OCIError.self) {
      try await RegistryPush(to: target, client: RegistryClient(configuration: configuration)).push(
        manifest: image.manifest, open: image.open)
    }
    #expect(stranger?.code == .denied)
  }

  @Test func whatCannotBePushed() async throws {
    let registry = try await DockerRegistry()
    let image = try await image("one", [Self.noise(10, 5)])
    func failure(_ name: String, _ manifest: [UInt8], open: RegistryPush.Opening? = nil) async throws -> OCIError? {
      do {
        try await RegistryPush(to: Reference("\(registry.authority)/\(name)"), client: client).push(
          manifest: manifest, open: open ?? image.open)
        return nil
      } catch { return error }
    }
    let index = [UInt8](try JSONEncoder().encode(Index(manifests: [])))
    #expect(try await failure("app:1", index)?.code == .unsupported)
    #expect(try await failure("app@\(Digest.sha256(of: [1]))", image.manifest)?.code == .digestMismatch)
    // What is here is not what its descriptor says.
    for bytes in [[1], Self.noise(100_000, 6)] as [[UInt8]] {
      try image.layout.write("blobs/sha256/\(image.layers[0].digest.hex)", bytes)
      let error = try await failure("app:1", image.manifest)
      #expect(error?.code == .sizeMismatch, "\(String(describing: error))")
      #expect(error?.message.hasPrefix("blob \(image.layers[0].digest.short) of ") == true)
    }
    let size = Int(image.layers[0].size)
    try image.layout.write("blobs/sha256/\(image.layers[0].digest.hex)", Self.noise(size, 7))
    #expect(try await failure("app:1", image.manifest) != nil)
    try FileManager.default.removeItem(atPath: image.layout.blobPath(image.layers[0].digest))
    #expect(try await failure("app:1", image.manifest)?.code == .notFound)
    // Nothing of it can be found.
    let found = await #expect(throws: OCIError.self) {
      try await RegistrySource(Reference("\(registry.authority)/app:1"), client: client).resolve(platform: .host)
    }
    #expect(found?.code == .notFound)
  }

  // MARK: Hostile registries

  private func hostile(
    _ image: Image, _ handler: @escaping @Sendable (FakeServer.Request, FakeServer.Connection) -> Bool
  ) async throws -> (error: OCIError?, requests: [FakeServer.Request]) {
    let server = try FakeServer { request, connection in
      if handler(request, connection) { return }
      switch request.method {
      case "HEAD": connection.send("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
      case "POST": connection.answer(202, ["Location": "/upload?state=1"])
      default: connection.answer(201)
      }
    }
    defer { server.stop() }
    do {
      try await RegistryPush(to: Reference("\(server.authority)/app:1"), client: client).push(
        manifest: image.manifest, open: image.open)
      return (nil, server.requests)
    } catch { return (error, server.requests) }
  }

  @Test func whatPassesIsTriedAgain() async throws {
    let image = try await image("one", [Self.noise(300_000, 8)])
    let failed = Mutex<Set<String>>([])
    let (error, requests) = try await hostile(image) { request, connection in
      // Each kind of request fails once.
      let kind = request.method + (request.target.contains("manifests") ? "m" : "")
      guard failed.withLock({ $0.insert(kind).inserted }) else { return false }
      if request.method == "PUT" { connection.hangUp() } else { connection.answer(503, ["Retry-After": "0"]) }
      return true
    }
    #expect(error == nil, "\(String(describing: error))")
    let bodies = requests.filter { $0.method == "PUT" && $0.target.contains(image.layers[0].digest.hex) }.map(\.body)
    #expect(bodies.last.map { Digest.sha256(of: $0) } == image.layers[0].digest)
    #expect(requests.last?.body == image.manifest)
    #expect(requests.last?.headers["content-type"] == MediaType.ociManifest)
    #expect(
      requests.first { $0.target.hasPrefix("/upload") }?.target.hasPrefix("/upload?state=1&digest=sha256%3A") == true)
  }

  @Test(
    arguments: [
      ("POST", 202, ["Location": "http://example.invalid/x"], "not secure"), ("POST", 202, [:], "without saying where"),
      ("POST", 405, [:], "takes no images"), ("PUT", 413, [:], "too large"),
      ("PUT", 307, ["Location": "/x"], "redirects"),
      ("PUT", 201, ["Docker-Content-Digest": "sha256:" + String(repeating: "0", count: 64)], "another digest"),
      ("HEAD", 403, [:], "refuses access"),
    ] as [(String, Int, [String: String], String)])
  func whatIsRefusedIsSaid(method: String, status: Int, headers: [String: String], word: String) async throws {
    let image = try await image("one", [Self.noise(10, 9)])
    let (error, requests) = try await hostile(image) { request, connection in
      guard request.method == method else { return false }
      connection.answer(status, headers)
      return true
    }
    #expect(error?.message.contains(word) == true, "\(String(describing: error))")
    #expect(!requests.contains { $0.target.contains("/manifests/") })
  }
}
