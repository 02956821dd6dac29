import FoundationEssentials
import Glibc
import IgniteImages
import IgniteOCI
import Testing

@testable import IgniteEngine

@Suite struct Configurations {
  private func merged(_ yaml: String) throws -> EngineConfiguration {
    let path = FileManager.default.temporaryDirectory.path + "/config-\(UInt32.random(in: .min ... .max)).yaml"
    defer { unlink(path) }
    try Data(yaml.utf8).write(to: URL(filePath: path))
    var configuration = EngineConfiguration()
    try configuration.merge(file: path)
    return configuration
  }

  @Test func fieldsReplaceDefaults() throws {
    let configuration = try merged("kind: Configuration\nnetwork:\n  publishAddress: 127.0.0.1\nusers: {first: 5000}\n")
    #expect(configuration.network.publishAddress == "127.0.0.1")
    #expect(configuration.network.userMode == "Auto")
    #expect(configuration.users.first == 5000)
    #expect(try merged("") == EngineConfiguration())
    let images = try merged("images: {keepBlobs: false, gracePeriod: 1h30m}").images
    #expect(!images.keepBlobs && images.gracePeriod == 5400)
    let limited = try merged("images: {sync: false, limits: {layerSize: 1GiB, expansion: 50, files: 10}}").images
    #expect(!limited.sync && limited.limits.layerBytes == 1 << 30)
    #expect(limited.limits.expansion == 50 && limited.limits.files == 10)
    let templates = try merged("templates: {enabled: false, maxBytes: 512MiB, keepIdle: 90s}").templates
    #expect(!templates.enabled && templates.automatic && templates.maxBytes == 512 << 20 && templates.keepIdle == 90)
  }

  @Test func theEnvironmentSaysHowTemplatesAreUsed() throws {
    var configuration = try merged("templates: {enabled: false, automatic: false}")
    try configuration.mergeTemplates(environment: [:])
    #expect(!configuration.templates.enabled && !configuration.templates.automatic)
    for (mode, enabled, automatic) in [("automatic", true, true), ("manual", true, false), ("off", false, false)] {
      try configuration.mergeTemplates(environment: ["IGNITE_TEMPLATES": mode])
      #expect(configuration.templates.enabled == enabled && configuration.templates.automatic == automatic)
    }
    let error = #expect(throws: EngineError.self) {
      try configuration.mergeTemplates(environment: ["IGNITE_TEMPLATES": "on"])
    }
    #expect(error?.message.contains("IGNITE_TEMPLATES") == true)
  }

  @Test func registriesAndTransfers() throws {
    let configuration = try merged(
      """
      registries:
        - host: Registry.test:5000
          insecure: true
          proxy: none
        - {host: index.docker.io, mirrors: [https://mirror.test, "127.0.0.1:5000/cache"]}
        - {host: secure.test, ca: /ca.pem, clientCertificate: /c.pem, clientKey: /k.pem}
      transfers: {tries: 2, minimumRate: 0, idleSeconds: 5}
      """)
    #expect(configuration.registries.map(\.host) == ["registry.test:5000", "docker.io", "secure.test"])
    #expect(configuration.registries[0].insecure == true && configuration.registries[0].proxy == "none")
    #expect(configuration.registries[1].mirrors == ["https://mirror.test", "127.0.0.1:5000/cache"])
    #expect(configuration.registries[2].clientKey == "/k.pem")
    let client = configuration.client(environment: [:]).configuration
    #expect(client.tries == 2 && client.minimumRate == 0 && client.idleTimeout == .seconds(5))
    #expect(client.rateWindow == .seconds(60) && client.registries == configuration.registries)
  }

  @Test(arguments: [
    ("registries: {}", "list"), ("registries: [x]", "registries[0]"), ("registries: [{}]", "host"),
    ("registries: [{host: a.test}, {host: A.test}]", "twice"), ("registries: [{host: a.test, tls: no}]", "tls"),
    ("registries: [{host: a.test, insecure: maybe}]", "insecure"), ("registries: [{host: 'a b'}]", "host name"),
    ("registries: [{host: a.test, mirrors: x}]", "mirrors"),
    ("registries: [{host: a.test, mirrors: ['u://m']}]", "u://m"),
    ("registries: [{host: a.test, clientKey: /k}]", "certificate"), ("registries: [{host: a.test, ca: x}]", "absolute"),
    ("registries: [{host: a.test, proxy: 'socks5://p'}]", "socks5"), ("transfers: {speed: 1}", "transfers.speed"),
    ("transfers: {tries: 0}", "transfers.tries"), ("transfers: {tries: 1000}", "beyond"),
  ])
  func whatIsWrongWithRegistriesIsNamed(yaml: String, word: String) throws {
    let error = #expect(throws: EngineError.self) { try merged(yaml) }
    #expect(error?.message.contains(word) == true, "\(String(describing: error))")
  }

  @Test(arguments: [
    ("netwrok: {}", "netwrok"), ("network: {publishAdress: x}", "network.publishAdress"), ("network: []", "network"),
    ("users: {first: many}", "users.first"), ("users: {first: -1}", "users.first"),
    ("network: {userMode: Fast}", "userMode"),
    ("images: {keepBlobs: perhaps}", "images.keepBlobs"), ("images: {gracePeriod: 5}", "images.gracePeriod"),
    ("images: {keepBlob: true}", "images.keepBlob"), ("images: {sync: 5}", "images.sync"),
    ("images: {limits: {layerSize: big}}", "images.limits.layerSize"),
    ("images: {limits: {layers: 5}}", "images.limits.layers"), ("images: {limits: {files: 0}}", "images.limits.files"),
    ("templates: {enabled: perhaps}", "templates.enabled"), ("templates: {maxBytes: 2G}", "templates.maxBytes"),
    ("templates: {keepIdle: 0s}", "templates.keepIdle"), ("templates: {keepIdle: 5}", "templates.keepIdle"),
    ("templates: {keep: 5s}", "templates.keep"), ("a: [", "YAML"), ("- x", "mapping"),
  ])
  func whatIsWrongIsNamed(yaml: String, word: String) throws {
    let error = #expect(throws: EngineError.self) { try merged(yaml) }
    #expect(error?.message.contains(word) == true, "\(String(describing: error))")
  }
}

@Suite struct Roots {
  @Test func flagsComeBeforeTheEnvironment() throws {
    let environment = ["IGNITE_DATA_DIR": "/d", "IGNITE_RUN_DIR": "/r", "HOME": "/h"]
    let given = try Paths(dataFlag: "/x", runFlag: "/y", environment: environment)
    #expect(given.data == "/x" && given.run == "/y")
    let found = try Paths(dataFlag: nil, runFlag: nil, environment: environment)
    #expect(found.data == "/d" && found.run == "/r")
  }

  @Test func aDataDirectoryAloneHasARunDirectoryOfItsOwn() throws {
    let one = try Paths(dataFlag: "/x", runFlag: nil, environment: ["XDG_RUNTIME_DIR": "/run/user/1"])
    let two = try Paths(dataFlag: "/y", runFlag: nil, environment: ["XDG_RUNTIME_DIR": "/run/user/1"])
    #expect(one.run != two.run)
    #expect(one.run.utf8.count < 60)
  }

  @Test func aRunDirectoryTooLongForSocketsIsRefused() {
    let error = #expect(throws: EngineError.self) {
      try Paths(dataFlag: "/x", runFlag: "/" + String(repeating: "r", count: 100), environment: [:])
    }
    #expect(error?.advice?.contains("--run-dir") == true)
  }
}
