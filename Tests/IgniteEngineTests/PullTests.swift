import Foundation
import IgniteAPI
import IgniteImages
import IgniteOCI
import Testing

@testable import IgniteEngine

/// When a registry is asked, and for what, by its own log.
@Suite struct Pulls {
  let scratch: TestDirectory

  init() throws { scratch = try TestDirectory() }

  private func engine(_ change: (inout EngineConfiguration) -> Void = { _ in }) async throws -> Engine {
    let environment = [
      "HOME": scratch.path, "IGNITE_DATA_DIR": scratch.file("data"), "IGNITE_RUN_DIR": scratch.file("run"),
      "PATH": "/usr/bin:/bin",
    ]
    var configuration = EngineConfiguration()
    configuration.transfers.tries = 1
    change(&configuration)
    return try await Engine.open(
      paths: Paths(dataFlag: nil, runFlag: nil, environment: environment), configuration: configuration,
      environment: environment)
  }

  private func publish(
    _ registry: DockerRegistry, _ name: String, layers: [String], platform: Platform = .host
  ) async throws -> (image: Digest, layers: [Digest]) {
    var layout = try TestLayout(scratch.file("layout-\(UInt32.random(in: .min ... .max))"))
    var made: [TestLayout.Layer] = []
    for text in layers { made.append(try await layout.layer([text: Array(text.utf8)])) }
    let image = try layout.image(made, platform: platform)
    try layout.list(image, tag: "v1")
    try await registry.push(layout, tag: "v1", as: name)
    return (image.digest, made.map(\.descriptor.digest))
  }

  /// The requests of a kind since a mark.
  private func requests(_ registry: DockerRegistry, since mark: Int, _ kind: String = "") async throws -> [String] {
    try await registry.accesses().dropFirst(mark).map(\.request).filter { kind.isEmpty || $0.contains(kind) }
  }

  private func expect(
    _ registry: DockerRegistry, since mark: Int, _ wanted: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let found = try await requests(registry, since: mark)
    #expect(found == wanted, sourceLocation: sourceLocation)
  }

  @Test func sharedLayersAreFetchedOnce() async throws {
    let registry = try await DockerRegistry()
    let one = try await publish(registry, "one:1", layers: ["base", "mine"])
    let two = try await publish(registry, "two:1", layers: ["base", "other"])
    #expect(one.layers[0] == two.layers[0])
    let engine = try await engine()
    _ = try await engine.importImage("\(registry.authority)/one:1") { _ in }
    let mark = try await registry.accesses().count
    let image = try await engine.importImage("\(registry.authority)/two:1") { _ in }
    #expect(image.manifestDigest == two.image)
    let fetched = try await requests(registry, since: mark, "/blobs/")
    #expect(
      Set(fetched) == ["GET /v2/two/blobs/\(image.configDigest)", "GET /v2/two/blobs/\(two.layers[1])"])
    #expect(fetched.count == 2)
  }

  @Test func policies() async throws {
    let registry = try await DockerRegistry()
    let name = "\(registry.authority)/app:1"
    let first = try await publish(registry, "app:1", layers: ["first"])
    let engine = try await engine()
    func pull(_ policy: PullPolicy) async throws -> Digest {
      try await engine.image(name, pull: policy) { _ in }.manifestDigest
    }
    let absent = await #expect(throws: EngineError.self) { try await pull(.never) }
    #expect(absent?.code == .notFound)
    #expect(try await pull(.missing) == first.image)

    // What is here and unchanged costs nothing, or one HEAD.
    var mark = try await registry.accesses().count
    #expect(try await pull(.missing) == first.image)
    #expect(try await pull(.never) == first.image)
    try await expect(registry, since: mark, [])
    for policy in [PullPolicy.always, .newer] {
      mark = try await registry.accesses().count
      #expect(try await pull(policy) == first.image)
      try await expect(registry, since: mark, ["HEAD /v2/app/manifests/1"])
    }
    mark = try await registry.accesses().count
    #expect(try await engine.importImage(name) { _ in }.manifestDigest == first.image)
    try await expect(registry, since: mark, ["HEAD /v2/app/manifests/1"])

    let second = try await publish(registry, "app:1", layers: ["second"])
    #expect(try await pull(.missing) == first.image)
    #expect(try await pull(.newer) == second.image)
    let third = try await publish(registry, "app:1", layers: ["third"])
    #expect(try await pull(.always) == third.image)
    #expect(try await engine.imageRecords().count == 1)

    // By digest nothing can change, so nobody is asked.
    let fixed = "\(registry.authority)/app:1@\(third.image)"
    #expect(try await engine.importImage(fixed) { _ in }.manifestDigest == third.image)
    mark = try await registry.accesses().count
    #expect(try await engine.image(fixed, pull: .always) { _ in }.manifestDigest == third.image)
    try await expect(registry, since: mark, [])
  }

  @Test func aRegistryThatIsGone() async throws {
    let engine = try await engine()
    // It ends with the function.
    func imported() async throws -> (name: String, image: Digest) {
      let registry = try await DockerRegistry()
      let name = "\(registry.authority)/app:1"
      let image = try await publish(registry, "app:1", layers: ["a"]).image
      _ = try await engine.importImage(name) { _ in }
      return (name, image)
    }
    let (name, image) = try await imported()
    #expect(try await engine.image(name, pull: .newer) { _ in }.manifestDigest == image)
    #expect(try await engine.image(name, pull: .missing) { _ in }.manifestDigest == image)
    let error = await #expect(throws: OCIError.self) { try await engine.image(name, pull: .always) { _ in } }
    #expect(error?.code == .unreachable)
  }

  @Test func platforms() async throws {
    let registry = try await DockerRegistry()
    let arm = Platform(os: "linux", architecture: "arm64")
    let name = "\(registry.authority)/arm:1"
    let image = try await publish(registry, "arm:1", layers: ["a"], platform: arm)
    let engine = try await engine()
    let other = await #expect(throws: ImageError.self) { try await engine.importImage(name) { _ in } }
    #expect(other?.message.contains("is for linux/arm64, not for \(Platform.host)") == true, "\(other?.message ?? "")")
    #expect(try await engine.importImage(name, platform: arm) { _ in }.manifestDigest == image.image)
    // It is here, and cannot run.
    let here = await #expect(throws: EngineError.self) { try await engine.image(name, pull: .missing) { _ in } }
    #expect(here?.message.contains("linux/arm64") == true)
    let run = await #expect(throws: EngineError.self) {
      var request = VMRequest(image: name)
      request.platform = arm
      return try await engine.create(request) { _ in }
    }
    #expect(run?.code == .invalidArgument)
    #expect(run?.message.contains("linux/arm64") == true)
    #expect(throws: Never.self) { try Engine.checkRuns(Platform("linux/amd64/v3"), of: name) }
    let windows = await #expect(throws: EngineError.self) {
      try await engine.importImage(name, platform: Platform("windows/amd64")) { _ in }
    }
    #expect(windows?.message.contains("windows/amd64") == true)
    let never = await #expect(throws: EngineError.self) {
      try await engine.image(name, pull: .never, platform: Platform(os: "linux", architecture: "s390x")) { _ in }
    }
    #expect(never?.message.contains("here for linux/arm64, not for linux/s390x") == true, "\(never?.message ?? "")")
  }

  /// An image goes from one registry to another as it is, by its store.
  @Test func pushes() async throws {
    let from = try await DockerRegistry()
    var options = DockerRegistry.Options()
    options.passwords = try await passwordFile(in: scratch, user: "me", password: "word")
    let to = try await DockerRegistry(options)
    let image = try await publish(from, "app:1", layers: ["one", "two"])
    let engine = try await engine()
    _ = try await engine.importImage("\(from.authority)/app:1") { _ in }
    let stranger = await #expect(throws: OCIError.self) {
      try await engine.pushImage("\(from.authority)/app:1", to: "\(to.authority)/copy:2") { _ in }
    }
    #expect(stranger?.code == .denied)

    let wrong = await #expect(throws: OCIError.self) { try await engine.login(to.authority, user: "me", password: "x") }
    #expect(wrong?.code == .denied)
    #expect(!FileManager.default.fileExists(atPath: scratch.file(".docker/config.json")))
    let kept = try await engine.login(to.authority, user: "me", password: "word")
    #expect(kept.registry == to.authority && kept.place == scratch.file(".docker/config.json"))

    // The grant of before was none, so this engine knows now.
    let pushed = try await engine.pushImage("\(from.authority)/app:1", to: "\(to.authority)/copy:2") { _ in }
    #expect(pushed.description == "\(to.authority)/copy:2@\(image.image)")
    let raw = try await tool([
      "skopeo", "inspect", "--raw", "--tls-verify=false", "--creds", "me:word", "docker://\(to.authority)/copy:2",
    ])
    #expect(Digest.sha256(of: raw) == image.image)
    #expect(try await engine.logout(to.authority) == [scratch.file(".docker/config.json")])
    let twice = await #expect(throws: EngineError.self) { try await engine.logout(to.authority) }
    #expect(twice?.code == .notFound)
    // An image whose blobs are not kept is told of.
    let blobs = try FileManager.default.contentsOfDirectory(atPath: scratch.file("data/content/blobs/sha256"))
    for blob in blobs where blob == image.layers[1].hex {
      try FileManager.default.removeItem(atPath: scratch.file("data/content/blobs/sha256/\(blob)"))
    }
    let partial = await #expect(throws: EngineError.self) {
      try await engine.pushImage("\(from.authority)/app:1") { _ in }
    }
    #expect(partial?.message.contains(image.layers[1].short) == true)
  }

  @Test func registriesOfTheConfiguration() async throws {
    let registry = try await DockerRegistry()
    var options = DockerRegistry.Options()
    options.remote = "http://\(registry.authority)"
    let mirror = try await DockerRegistry(options)
    let image = try await publish(registry, "library/app:1", layers: ["a"])
    let engine = try await engine { configuration in
      var settings = RegistrySettings(host: "docker.io")
      settings.mirrors = ["http://\(mirror.authority)"]
      configuration.registries = [settings]
    }
    // Docker Hub itself is not asked.
    let name = try await engine.importImage("app:1") { _ in }
    #expect(name.name == "docker.io/library/app:1" && name.manifestDigest == image.image)
  }
}
