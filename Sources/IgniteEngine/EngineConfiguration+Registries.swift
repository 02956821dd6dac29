internal import FoundationEssentials
internal import IgniteOCI
internal import Yams

extension EngineConfiguration {
  /// How long and how often registries are asked.
  public struct Transfers: Codable, Sendable, Equatable {
    /// Tries of a request that fails in a way that passes.
    public var tries: UInt32 = 5
    /// Until a connection to a registry stands.
    public var connectSeconds: UInt32 = 15
    /// The longest silence of a registry.
    public var idleSeconds: UInt32 = 60
    /// The least that has to come over each `rateSeconds` of waiting, in bytes a second; 0 for no limit.
    public var minimumRate: UInt32 = 1024
    public var rateSeconds: UInt32 = 60
    public init() {}
  }

  /// A later file's entry takes the place of an earlier one's for the same host.
  mutating func mergeRegistries(_ node: Node, file: String) throws {
    guard let list = node.sequence else {
      throw EngineError(.invalidArgument, "\(file): registries is not a list")
    }
    var hosts: Set<String> = []
    for (position, node) in list.enumerated() {
      let settings = try Self.registry(node, file, "registries[\(position)]")
      guard hosts.insert(settings.host).inserted else {
        throw EngineError(.invalidArgument, "\(file): registries lists \(settings.host) twice")
      }
      registries.removeAll { $0.host == settings.host }
      registries.append(settings)
    }
  }

  private static func registry(_ node: Node, _ file: String, _ path: String) throws -> RegistrySettings {
    var settings = RegistrySettings(host: "")
    for (key, value) in try fields(of: node, file: file, at: path) {
      let place = "\(path).\(key)"
      switch key {
      case "host":
        settings.host = try text(value, file, place).lowercased()
        if ["index.docker.io", "registry-1.docker.io"].contains(settings.host) { settings.host = "docker.io" }
      case "insecure": settings.insecure = try flag(value, file, place)
      case "ca": settings.ca = try text(value, file, place)
      case "clientCertificate": settings.clientCertificate = try text(value, file, place)
      case "clientKey": settings.clientKey = try text(value, file, place)
      case "mirrors":
        guard let mirrors = value.sequence else {
          throw EngineError(.invalidArgument, "\(file): \(place) is not a list")
        }
        settings.mirrors = try mirrors.enumerated().map { try text($1, file, "\(place)[\($0)]") }
      case "proxy": settings.proxy = try text(value, file, place)
      default: throw unknown(place, file, known: RegistrySettings.fields)
      }
    }
    guard !settings.host.isEmpty else {
      throw EngineError(.invalidArgument, "\(file): \(path).host is missing", advice: "write HOST or HOST:PORT")
    }
    do throws(OCIError) {
      try settings.check()
    } catch {
      throw EngineError(.invalidArgument, "\(file): \(path): \(error.message)", advice: error.advice, cause: error)
    }
    return settings
  }

  mutating func mergeTransfers(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "transfers") {
      let place = "transfers.\(key)"
      switch key {
      case "tries": transfers.tries = try Self.number(value, file, place)
      case "connectSeconds": transfers.connectSeconds = try Self.number(value, file, place)
      case "idleSeconds": transfers.idleSeconds = try Self.number(value, file, place)
      case "minimumRate": transfers.minimumRate = value.int == 0 ? 0 : try Self.number(value, file, place)
      case "rateSeconds": transfers.rateSeconds = try Self.number(value, file, place)
      default:
        throw Self.unknown(
          place, file, known: ["tries", "connectSeconds", "idleSeconds", "minimumRate", "rateSeconds"])
      }
    }
    guard transfers.tries <= 100, transfers.connectSeconds <= 3600, transfers.idleSeconds <= 86_400,
      transfers.rateSeconds <= 86_400
    else {
      throw EngineError(
        .invalidArgument, "\(file): transfers has numbers beyond all measure",
        advice: "at most 100 tries, 3600 s to connect, a day of patience")
    }
  }

  /// How registries are reached by this configuration.
  func client(environment: [String: String]) -> RegistryClient {
    var client = RegistryClient.Configuration(environment: environment)
    client.registries = registries
    client.tries = Int(transfers.tries)
    client.connectTimeout = .seconds(transfers.connectSeconds)
    client.idleTimeout = .seconds(transfers.idleSeconds)
    client.minimumRate = Int64(transfers.minimumRate)
    client.rateWindow = .seconds(transfers.rateSeconds)
    return RegistryClient(configuration: client)
  }
}
