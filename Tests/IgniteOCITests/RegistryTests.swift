import Foundation
import IgniteOCI
import IgniteSystem
import Testing

/// Against Debian's docker-registry.
@Suite struct RegistryTests {
  let scratch: TestDirectory
  let client: RegistryClient

  init() throws {
    scratch = try TestDirectory()
    client = RegistryClient(configuration: .fast)
  }

  private func source(_ text: String) throws -> RegistrySource { RegistrySource(try Reference(text), client: client) }

  @Test func pulls() async throws {
    let registry = try await DockerRegistry()
    var layout = try TestLayout(scratch.file("l"))
    let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
    let layer = try await layout.layer(["data": content])
    let image = try layout.image([layer])
    try layout.list(image, tag: "v1")
    try await registry.push(layout, tag: "v1", as: "team/app:1")

    let resolved = try await source("\(registry.authority)/team/app:1").resolve(platform: .host)
    #expect(resolved.descriptor.digest == image.digest)
    #expect(resolved.manifest.layers.map(\.digest) == [layer.descriptor.digest])
    let byDigest = try await source("\(registry.authority)/team/app@\(image.digest)").resolve(platform: .host)
    #expect(byDigest.bytes == resolved.bytes)

    let reader = try await source("\(registry.authority)/team/app:1").open(layer.descriptor)
    #expect(Digest.sha256(of: try await reader.all()) == layer.descriptor.digest)

    for (name, part) in [
      ("team/app:2", "no tag 2"), ("team/none:1", "no tag 1 of team/none"),
      ("team/app@\(Digest.sha256(of: []))", "no manifest"),
    ] {
      let error = await #expect(throws: OCIError.self) {
        try await source("\(registry.authority)/\(name)").resolve(platform: .host)
      }
      #expect(error?.code == .notFound)
      #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
    }
    let absent = Descriptor(mediaType: MediaType.ociLayer, digest: .sha256(of: [9]), size: 1)
    let error = await #expect(throws: OCIError.self) {
      try await source("\(registry.authority)/team/app:1").open(absent)
    }
    #expect(error?.code == .notFound)
    await client.shutdown()
  }

  @Test func choosesByPlatform() async throws {
    let registry = try await DockerRegistry()
    var layout = try TestLayout(scratch.file("l"))
    var entries: [Descriptor] = []
    for architecture in ["amd64", "arm64", "riscv64"] {
      let platform = Platform(os: "linux", architecture: architecture)
      var entry = try layout.image([], platform: platform)
      entry.platform = platform
      entries.append(entry)
    }
    let index = try layout.add(json: Index(manifests: entries), type: MediaType.ociIndex)
    try layout.list(index, tag: "all")
    try await registry.push(layout, tag: "all", as: "multi:1", all: true)
    for entry in entries {
      let resolved = try await source("\(registry.authority)/multi:1").resolve(platform: #require(entry.platform))
      #expect(resolved.descriptor.digest == entry.digest)
      #expect(resolved.indexDigest == index.digest)
    }
    let error = await #expect(throws: OCIError.self) {
      try await source("\(registry.authority)/multi:1").resolve(platform: Platform("linux/s390x"))
    }
    #expect(error?.code == .noSuitablePlatform)
    #expect(error?.message.contains("linux/amd64, linux/arm64, linux/riscv64") == true)
  }

  @Test func damagedManifest() async throws {
    let registry = try await DockerRegistry()
    var layout = try TestLayout(scratch.file("l"))
    let image = try layout.image([])
    try layout.list(image, tag: "v1")
    try await registry.push(layout, tag: "v1", as: "app:1")
    let path = registry.blobPath(image.digest.hex)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count - 1] = 0x20
    try bytes.write(to: URL(fileURLWithPath: path))
    let error = await #expect(throws: OCIError.self) {
      try await source("\(registry.authority)/app@\(image.digest)").resolve(platform: .host)
    }
    #expect(error != nil)
  }

  @Test func unreachable() async throws {
    let server = try FakeServer { _, connection in connection.hangUp() }
    server.stop()
    // The port was free a moment ago and stays so: nobody is told of it.
    let error = await #expect(throws: OCIError.self) {
      try await source("\(server.authority)/app:1").resolve(platform: .host)
    }
    #expect(error?.code == .unreachable)
    #expect(
      error?.description
        == "cannot reach the registry at \(server.authority): connection refused; is it running? check the name and the network"
    )
    let name = await #expect(throws: OCIError.self) {
      try await source("no-such-host.invalid/app:1").resolve(platform: .host)
    }
    #expect(name?.code == .unreachable)
    #expect(name?.message == "cannot reach the registry at no-such-host.invalid:443: its name cannot be resolved")
  }
}

extension RegistryClient.Configuration {
  /// For servers that are known to answer at once or never.
  static var fast: RegistryClient.Configuration {
    var configuration = RegistryClient.Configuration(environment: [:])
    configuration.certificateFolders = []
    configuration.tries = 3
    configuration.connectTimeout = .seconds(10)
    configuration.idleTimeout = .seconds(20)
    configuration.backoff = .milliseconds(1)
    return configuration
  }

  /// For servers that fall silent.
  static var impatient: RegistryClient.Configuration {
    var configuration = fast
    configuration.idleTimeout = .milliseconds(300)
    return configuration
  }
}

extension BlobReader {
  func all() async throws(OCIError) -> [UInt8] {
    var bytes: [UInt8] = []
    while let chunk = try await next() { chunk.withUnsafeBytes { bytes += $0 } }
    return bytes
  }
}
