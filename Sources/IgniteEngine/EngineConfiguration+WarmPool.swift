internal import Yams

extension EngineConfiguration {
  /// Hypervisors that are started ahead of the VMs that will need them.
  public struct WarmPool: Codable, Sendable, Equatable {
    /// How many wait at most, of all kinds together; 0 turns the pool off.
    public var size: UInt32 = 0
    /// Seconds after which one that nobody has taken ends.
    public var keepIdle: Int64 = 600
    public init() {}

    /// Each takes some 60 MiB of the host.
    static let maximumSize: UInt32 = 256
  }

  mutating func mergeWarmPool(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "warmPool") {
      switch key {
      case "size":
        guard let size = value.int.flatMap({ UInt32(exactly: $0) }), size <= WarmPool.maximumSize else {
          throw EngineError(
            .invalidArgument, "\(file): warmPool.size is no number of hypervisors",
            advice: "write a whole number from 0 to \(WarmPool.maximumSize)")
        }
        warmPool.size = size
      case "keepIdle":
        warmPool.keepIdle = try Self.duration(value, file, "warmPool.keepIdle")
        guard warmPool.keepIdle > 0 else {
          throw EngineError(.invalidArgument, "\(file): warmPool.keepIdle is no time", advice: "write it as 10m")
        }
      default: throw Self.unknown("warmPool.\(key)", file, known: ["size", "keepIdle"])
      }
    }
  }
}
