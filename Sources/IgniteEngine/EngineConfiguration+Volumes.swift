public import IgniteAPI
internal import Yams

extension EngineConfiguration {
  /// Volumes that are made without a size being named.
  public struct Volumes: Codable, Sendable, Equatable {
    public var size = ByteQuantity.gibibytes(10)
    public init() {}
  }

  mutating func mergeVolumes(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "volumes") {
      switch key {
      case "size":
        let text = try Self.text(value, file, "volumes.size")
        guard let size = ByteQuantity(manifest: text), Engine.volumeSizes.contains(size.bytes) else {
          throw EngineError(
            .invalidArgument, "\(file): volumes.size is \"\(text)\"", advice: "write it as 10GiB, from 16MiB to 16TiB")
        }
        volumes.size = ByteQuantity(bytes: size.bytes & ~4095)
      default: throw Self.unknown("volumes.\(key)", file, known: ["size"])
      }
    }
  }
}
