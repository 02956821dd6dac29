import Foundation
import Testing

@testable import IgniteOCI

@Suite struct DocumentTests {
  static let digest = "sha256:" + String(repeating: "ab", count: 32)

  @Test func digestForms() throws {
    #expect(
      Digest.sha256(of: Array("abc".utf8)).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(Digest(Self.digest)?.short == "sha256:abababababab")
    for text in [
      "", "sha256", "sha256:", Self.digest + "a", String(Self.digest.dropLast()), Self.digest.uppercased(), "sha1:ab",
      "sha256:../../x",
    ] {
      #expect(Digest(text) == nil)
    }
  }

  @Test func configToleratesNull() throws {
    let json = """
      {"architecture":"amd64","os":"linux","created":null,"variant":null,"history":null,"rootfs":{"type":"layers","diff_ids":null},
      "config":{"Entrypoint":null,"Cmd":["a"],"Env":null,"ExposedPorts":{"80/tcp":{},"53/udp":null},"Volumes":null,"Labels":null,
      "User":null,"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000,"Retries":null}, "Unknown": [1]}, "more": {}}
      """
    let config = try ImageConfig(json: Array(json.utf8))
    #expect(config.config.entrypoint == nil)
    #expect(config.config.command == ["a"])
    #expect(config.config.exposedPorts == ["53/udp", "80/tcp"])
    #expect(config.config.healthcheck?.interval == 30_000_000_000)
    #expect(config.diffIDs.isEmpty)
    #expect(config.platform == Platform(os: "linux", architecture: "amd64"))
    let bare = try ImageConfig(json: Array(#"{"rootfs":null,"config":null}"#.utf8))
    #expect(bare.os.isEmpty && bare.config == ImageConfig.Process())
  }

  @Test func configRoundTrip() throws {
    let config = ImageConfig(
      created: "2024-01-01T00:00:00Z", author: "x", osVersion: "1", variant: "v1",
      config: .init(
        entrypoint: [], command: ["b"], environment: ["A=b"], user: "1:2", workingDirectory: "/w", stopSignal: "SIGINT",
        exposedPorts: ["80/tcp"], volumes: ["/v"], labels: ["l": "m"],
        healthcheck: .init(test: ["NONE"], interval: 1, timeout: 2, startPeriod: 3, startInterval: 4, retries: 5)),
      diffIDs: [.sha256(of: [1])], history: [.init(created: "c", createdBy: "d", comment: "e", emptyLayer: true)])
    #expect(try ImageConfig(json: [UInt8](JSONEncoder().encode(config))) == config)
  }

  @Test(arguments: [
    ("{", "no JSON"), (#"{"rootfs":{"diff_ids":["x"]}}"#, "no digest"),
    (#"{"config":{"Cmd":"x"}}"#, "'config.Cmd' has the wrong type"),
    (#"[]"#, "wrong type"), (String(repeating: "[", count: 100_000), "not valid"),
  ])
  func brokenConfig(_ json: String, because: String) {
    let error = #expect(throws: OCIError.self) { try ImageConfig(json: Array(json.utf8)) }
    #expect(error?.message.contains(because) == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [
    (#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"D","size":1},"layers":[],"manifests":[]}"#, "ambiguous"),
    (#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#, "schema 1"),
    (#"{"schemaVersion":2}"#, "unknown type"),
    (#"{"schemaVersion":3,"manifests":[]}"#, "schema version"),
    (
      #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{},"layers":[]}"#,
      "fields of a manifest"
    ),
    (#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"D","size":-1},"layers":[]}"#, "negative"),
    (
      #"{"schemaVersion":2,"config":{"mediaType":"x","digest":"D","size":9999999999999999999},"layers":[]}"#,
      "not valid"
    ),
    (#"{"schemaVersion":2,"config":{"digest":"D","size":1},"layers":[{"size":1}]}"#, "'layers.0.digest' is missing"),
    ("null", "not valid"), ("<html>", "no JSON"),
  ])
  func brokenManifest(_ json: String, because: String) {
    let text = json.replacingOccurrences(of: "\"D\"", with: "\"\(Self.digest)\"")
    let error = #expect(throws: OCIError.self) { try ManifestDocument(Array(text.utf8), declared: nil) }
    #expect(error?.message.contains(because) == true, "\(error?.message ?? "")")
  }

  @Test func manifestLimits() throws {
    let layer = Descriptor(mediaType: MediaType.ociLayer, digest: .sha256(of: []), size: 0)
    let manifest = Manifest(config: layer, layers: Array(repeating: layer, count: Limits.layerCount + 1))
    let bytes = [UInt8](try JSONEncoder().encode(manifest))
    #expect(#expect(throws: OCIError.self) { try ManifestDocument(bytes, declared: nil) }?.code == .limitExceeded)
    let long = [UInt8](repeating: 0x20, count: Limits.manifestSize + 1)
    #expect(#expect(throws: OCIError.self) { try ManifestDocument(long, declared: nil) }?.code == .limitExceeded)
    #expect(
      Manifest(
        config: layer,
        layers: [
          Descriptor(mediaType: "", digest: layer.digest, size: .max),
          Descriptor(mediaType: "", digest: layer.digest, size: 1),
        ]
      ).layersSize == .max)
  }

  @Test func declaredTypeMustAgree() throws {
    let manifest = Manifest(
      config: Descriptor(mediaType: MediaType.ociConfig, digest: .sha256(of: []), size: 0), layers: [])
    let bytes = [UInt8](try JSONEncoder().encode(manifest))
    #expect(throws: OCIError.self) { try ManifestDocument(bytes, declared: MediaType.ociIndex) }
    // What is no manifest's type at all, such as text/plain, tells nothing.
    guard case .manifest = try ManifestDocument(bytes, declared: "text/plain") else {
      Issue.record("not taken for a manifest")
      return
    }
  }

  static func entry(_ platform: String?, _ seed: UInt8) throws -> Descriptor {
    Descriptor(
      mediaType: MediaType.ociManifest, digest: .sha256(of: [seed]), size: 1,
      platform: try platform.map { try Platform($0) })
  }

  @Test(arguments: [
    (["linux/arm64", "linux/amd64"], "linux/amd64", 1),
    (["linux/amd64", "linux/amd64/v3"], "linux/amd64", 0),
    (["linux/amd64/v3", "linux/amd64/v2"], "linux/amd64", 1),
    (["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"], "linux/amd64/v2", 1),
    (["linux/arm/v6", "linux/arm/v7", "linux/arm/v5"], "linux/arm", 1),
    (["linux/arm/v6", "linux/arm/v5"], "linux/arm/v7", 0),
    (["linux/arm64/v8", "linux/amd64"], "linux/arm64", 0),
    (["linux/x86_64"], "linux/amd64", 0),
    (["unknown/unknown", "linux/amd64"], "linux/amd64", 1),
  ])
  func platformSelection(_ platforms: [String], wanted: String, expected: Int) throws {
    let entries = try platforms.enumerated().map { try Self.entry($1, UInt8($0)) }
    let chosen = try ManifestResolver.select(from: entries, for: Platform(wanted))
    #expect(chosen == entries[expected])
  }

  @Test func platformNotThere() throws {
    let entries = try [Self.entry("linux/arm64", 1), Self.entry("windows/amd64", 2), Self.entry("unknown/unknown", 3)]
    let error = #expect(throws: OCIError.self) {
      try ManifestResolver.select(from: entries, for: Platform("linux/amd64"))
    }
    #expect(error?.code == .noSuitablePlatform)
    #expect(error?.message == "the image has nothing for linux/amd64: its index has linux/arm64, windows/amd64")
    #expect(throws: OCIError.self) {
      try ManifestResolver.select(from: [Self.entry("linux/amd64/v3", 1)], for: Platform("linux/amd64/v2"))
    }
    #expect(try ManifestResolver.select(from: [Self.entry(nil, 1)], for: .host) == Self.entry(nil, 1))
  }

  @Test(arguments: ["linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", ""])
  func brokenPlatform(_ text: String) {
    #expect(throws: OCIError.self) { try Platform(text) }
  }

  @Test func challenges() {
    let plain = BearerChallenge([#"Bearer realm="https://auth.io/token",service="r.io",scope="repository:a/b:pull""#])
    #expect(plain?.realm == "https://auth.io/token")
    #expect(plain?.service == "r.io")
    #expect(plain?.scope == "repository:a/b:pull")
    #expect(BearerChallenge([#"Basic realm="x", bearer REALM=y , scope="a,b \"c\"""#])?.realm == "y")
    #expect(BearerChallenge([#"Basic realm="x", bearer REALM=y , scope="a,b \"c\"""#])?.scope == #"a,b "c""#)
    #expect(BearerChallenge([#"Basic realm="x""#]) == nil)
    for broken in ["", "Bearer", "Bearer realm", "Bearer realm=\"x", "=", "\"\"", "Bearer ,,,=", "a=b"] {
      #expect(BearerChallenge([broken]) == nil)
    }
  }

  @Test func challengeFuzz() async {
    var generator = SplitMix(seed: 7)
    let pieces = ["Bearer", "Basic", " ", ",", "=", "\"", "\\", "realm", "x", "é", "\t", "scope"]
    for round in 0..<20_000 {
      if round.isMultiple(of: 100) { await Task.yield() }
      let text = (0..<Int.random(in: 1...14, using: &generator)).map { _ in
        pieces.randomElement(using: &generator) ?? ""
      }.joined()
      if BearerChallenge.parse(text).count > text.count { Issue.record("more challenges than letters: \(text)") }
    }
  }

  @Test(arguments: [
    ("localhost", true), ("LOCALHOST", true), ("127.0.0.1", true), ("127.255.0.9", true), ("::1", true),
    ("128.0.0.1", false),
    ("localhost.evil.io", false), ("127.0.0.1.evil.io", false), ("::2", false), ("0.0.0.0", false),
    ("::ffff:127.0.0.1", false),
  ])
  func loopback(_ host: String, _ expected: Bool) { #expect(isLoopback(host) == expected) }

  @Test func endpoints() throws {
    func base(_ registry: String) throws -> String {
      try RegistryEndpoint(registry: registry, scheme: RegistryEndpoint.scheme(of: registry, nil)).base.absoluteString
    }
    #expect(try base("docker.io") == "https://registry-1.docker.io/v2/")
    #expect(try base("localhost:5000") == "http://localhost:5000/v2/")
    #expect(try base("[::1]:5000") == "http://[::1]:5000/v2/")
    #expect(try base("ghcr.io:8443") == "https://ghcr.io:8443/v2/")
  }

  @Test(arguments: [
    ("https://m.test", "https://m.test/v2/"), ("m.test:5000/", "https://m.test:5000/v2/"),
    ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"), ("http://m.test/a/b/", "http://m.test/v2/a/b/"),
    ("https://[fd00::1]:1/x", "https://[fd00::1]:1/v2/x/"),
  ])
  func mirrors(text: String, base: String) throws {
    let endpoint = try RegistryEndpoint.mirror(text, of: "docker.io")
    #expect(endpoint.base.absoluteString == base)
    #expect(endpoint.isMirror && endpoint.credentials != "docker.io")
  }
}
