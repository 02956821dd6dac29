internal import IgniteAPI
public import IgniteImages
internal import Yams

extension EngineConfiguration {
  /// What holds for the import and the keeping of images.
  public struct Images: Codable, Sendable, Equatable {
    /// Whether an import keeps the layers once the base disk is made; save, push and verify need them.
    public var keepBlobs = true
    /// Seconds for which what nothing needs is kept after it was written, so that a failed import is resumed.
    public var gracePeriod: Int64 = 3600
    /// Whether an import waits until all that it wrote is on stable storage.
    public var sync = true
    /// What an image may cost.
    public var limits = ImportLimits()
    public init() {}
  }

  mutating func mergeImages(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "images") {
      switch key {
      case "keepBlobs": images.keepBlobs = try Self.flag(value, file, "images.keepBlobs")
      case "gracePeriod": images.gracePeriod = try Self.duration(value, file, "images.gracePeriod")
      case "sync": images.sync = try Self.flag(value, file, "images.sync")
      case "limits": try mergeLimits(value, file: file)
      default:
        throw Self.unknown("images.\(key)", file, known: ["keepBlobs", "gracePeriod", "sync", "limits"])
      }
    }
  }

  private mutating func mergeLimits(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "images.limits") {
      let path = "images.limits.\(key)"
      switch key {
      case "layerSize": images.limits.layerBytes = try Self.size(value, file, path)
      case "expansion": images.limits.expansion = UInt64(try Self.number(value, file, path))
      case "expansionFrom": images.limits.expansionFrom = try Self.size(value, file, path)
      case "diskSize": images.limits.diskBytes = try Self.size(value, file, path)
      case "fileSize": images.limits.archive.fileBytes = try Self.size(value, file, path)
      case "files": images.limits.files = try Self.number(value, file, path)
      default:
        throw Self.unknown(
          path, file, known: ["layerSize", "expansion", "expansionFrom", "diskSize", "fileSize", "files"])
      }
    }
  }

  /// A size with its unit, in bytes.
  static func size(_ node: Node, _ file: String, _ path: String) throws -> UInt64 {
    guard let size = node.string.flatMap({ ByteQuantity(manifest: $0) }), size.bytes > 0 else {
      throw EngineError(.invalidArgument, "\(file): \(path) is no size", advice: "write it as 512MiB or 4GiB")
    }
    return size.bytes
  }
}
