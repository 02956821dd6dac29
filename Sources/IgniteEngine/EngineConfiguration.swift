internal import FoundationEssentials
internal import Glibc
public import IgniteOCI
internal import IgniteSystem
internal import Yams

/// The configuration file, kind `Configuration`; every field has a default.
public struct EngineConfiguration: Codable, Sendable, Equatable {
  public struct Network: Codable, Sendable, Equatable {
    /// The host's address that a port is published at when `-p` names none; docker's default.
    public var publishAddress = "0.0.0.0"
    /// `Auto`, `Passt` or `Restricted` (QEMU's own user network: published ports only).
    public var userMode = "Auto"
    public init() {}
  }

  public struct Users: Codable, Sendable, Equatable {
    /// As root every VM runs as a user of its own, from this range of the host's user ids.
    public var first: UInt32 = 1_610_612_736
    public var count: UInt32 = 65_536
    public init() {}
  }

  public var network = Network()
  public var users = Users()
  public var templates = Templates()
  public var warmPool = WarmPool()
  public var resources = Resources()
  public var logs = Logs()
  public var volumes = Volumes()
  public var images = Images()
  /// What is said of single registries.
  public var registries: [RegistrySettings] = []
  public var transfers = Transfers()

  public init() {}

  /// Reads `/etc/ignite/config.yaml`, then `$XDG_CONFIG_HOME/ignite/config.yaml`; the later file's fields win.
  ///
  /// - Throws: EngineError that names the file and the field, for a field that is not known too.
  public static func load(environment: [String: String]) throws -> EngineConfiguration {
    var configuration = EngineConfiguration()
    var files = ["/etc/ignite/config.yaml"]
    if let home = environment["XDG_CONFIG_HOME"] ?? environment["HOME"].map({ $0 + "/.config" }) {
      files.append(home + "/ignite/config.yaml")
    }
    for file in files where access(file, F_OK) == 0 { try configuration.merge(file: file) }
    try configuration.mergeTemplates(environment: environment)
    return configuration
  }

  mutating func merge(file: String) throws {
    guard let data = FileManager.default.contents(atPath: file), data.count <= 1 << 20 else {
      throw EngineError(.invalidArgument, "the configuration \(file) cannot be read, or is over 1 MiB")
    }
    let root: Node?
    do {
      root = try Yams.compose(yaml: String(decoding: data, as: UTF8.self))
    } catch {
      let line = String(describing: error).split(separator: "\n").first.map(String.init) ?? ""
      throw EngineError(.invalidArgument, "the configuration \(file) is not YAML: \(line)")
    }
    guard let root else { return }
    try merge(root, file: file)
  }

  private mutating func merge(_ root: Node, file: String) throws {
    for (key, value) in try Self.fields(of: root, file: file, at: "") {
      switch key {
      case "apiVersion", "kind": break
      case "network":
        for (key, value) in try Self.fields(of: value, file: file, at: "network") {
          switch key {
          case "publishAddress": network.publishAddress = try Self.text(value, file, "network.publishAddress")
          case "userMode":
            let mode = try Self.text(value, file, "network.userMode")
            guard ["Auto", "Passt", "Restricted"].contains(mode) else {
              throw EngineError(
                .invalidArgument, "\(file): network.userMode is \"\(mode)\"", advice: "write Auto, Passt or Restricted")
            }
            network.userMode = mode
          default: throw Self.unknown("network.\(key)", file, known: ["publishAddress", "userMode"])
          }
        }
      case "users":
        for (key, value) in try Self.fields(of: value, file: file, at: "users") {
          switch key {
          case "first": users.first = try Self.number(value, file, "users.first")
          case "count": users.count = try Self.number(value, file, "users.count")
          default: throw Self.unknown("users.\(key)", file, known: ["first", "count"])
          }
        }
      case "templates": try mergeTemplates(value, file: file)
      case "resources": try mergeResources(value, file: file)
      case "logs": try mergeLogs(value, file: file)
      case "volumes": try mergeVolumes(value, file: file)
      case "warmPool": try mergeWarmPool(value, file: file)
      case "images": try mergeImages(value, file: file)
      case "registries": try mergeRegistries(value, file: file)
      case "transfers": try mergeTransfers(value, file: file)
      default:
        throw Self.unknown(
          key, file,
          known: [
            "network", "users", "templates", "warmPool", "resources", "logs", "volumes", "images", "registries",
            "transfers",
          ])
      }
    }
  }

  static func fields(of node: Node, file: String, at path: String) throws -> [(String, Node)] {
    guard let mapping = node.mapping else {
      throw EngineError(.invalidArgument, "\(file): \(path.isEmpty ? "the document" : path) is not a mapping")
    }
    return mapping.map { ($0.key.string ?? "", $0.value) }
  }

  static func text(_ node: Node, _ file: String, _ path: String) throws -> String {
    guard let text = node.string else { throw EngineError(.invalidArgument, "\(file): \(path) is not text") }
    return text
  }

  static func number(_ node: Node, _ file: String, _ path: String) throws -> UInt32 {
    guard let number = node.int.flatMap({ UInt32(exactly: $0) }), number > 0 else {
      throw EngineError(.invalidArgument, "\(file): \(path) is not a positive whole number")
    }
    return number
  }

  static func flag(_ node: Node, _ file: String, _ path: String) throws -> Bool {
    guard let flag = node.bool else {
      throw EngineError(.invalidArgument, "\(file): \(path) is neither true nor false")
    }
    return flag
  }

  /// A span of time as `90s`, `10m`, `24h`, `7d` or `1h30m`, in seconds.
  static func duration(_ node: Node, _ file: String, _ path: String) throws -> Int64 {
    guard let text = node.string, let seconds = TimeSpan.seconds(text) else {
      throw EngineError(.invalidArgument, "\(file): \(path) is no span of time", advice: "write it as 90s, 10m or 24h")
    }
    return seconds
  }

  static func unknown(_ path: String, _ file: String, known: [String]) -> EngineError {
    EngineError(
      .invalidArgument, "\(file): there is no field \(path)", advice: "known here: \(known.joined(separator: ", "))")
  }
}
