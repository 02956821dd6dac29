internal import IgniteAPI
internal import Yams

extension EngineConfiguration {
  /// What VMs may take of the host.
  public struct Resources: Codable, Sendable, Equatable {
    /// Whether VMs may have more memory together than the host.
    public var overcommit = false
    public init() {}
  }

  /// What is kept of what a VM's process writes; a VM's own settings come first.
  public struct Logs: Codable, Sendable, Equatable {
    /// Bytes of one file, and how many there are at most, the one that is written to among them.
    public var maxSize: UInt64 = 16 << 20
    public var maxFiles: UInt32 = 2
    public init() {}

    public static let sizes: ClosedRange<UInt64> = 4096...(1 << 40)
    public static let counts: ClosedRange<UInt32> = 1...100
  }

  mutating func mergeResources(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "resources") {
      guard key == "overcommit" else { throw Self.unknown("resources.\(key)", file, known: ["overcommit"]) }
      resources.overcommit = try Self.flag(value, file, "resources.overcommit")
    }
  }

  mutating func mergeLogs(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "logs") {
      switch key {
      case "maxSize":
        logs.maxSize = try Self.size(value, file, "logs.maxSize")
        guard Logs.sizes.contains(logs.maxSize) else {
          throw EngineError(
            .invalidArgument, "\(file): logs.maxSize is too small or too large", advice: "write it as 16MiB")
        }
      case "maxFiles":
        logs.maxFiles = try Self.number(value, file, "logs.maxFiles")
        guard Logs.counts.contains(logs.maxFiles) else {
          throw EngineError(.invalidArgument, "\(file): logs.maxFiles is not possible", advice: "write 1 to 100")
        }
      default: throw Self.unknown("logs.\(key)", file, known: ["maxSize", "maxFiles"])
      }
    }
  }
}
