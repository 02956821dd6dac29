/// A number of bytes, written with a binary unit: `512MiB`.
public struct ByteQuantity: Equatable, Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
  public var bytes: UInt64

  public init(bytes: UInt64) { self.bytes = bytes }
  public static func mebibytes(_ count: UInt64) -> ByteQuantity { ByteQuantity(bytes: count << 20) }
  public static func gibibytes(_ count: UInt64) -> ByteQuantity { ByteQuantity(bytes: count << 30) }

  public static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }

  private static let units: [(name: String, shift: UInt64)] = [
    ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10),
  ]

  /// The largest unit that shows the number exactly.
  public var description: String {
    for unit in Self.units where bytes > 0 && bytes & ((1 << unit.shift) - 1) == 0 {
      return "\(bytes >> unit.shift)\(unit.name)"
    }
    return "\(bytes)"
  }

  /// About the number, for people: `28.1MiB`.
  public var rounded: String {
    for unit in Self.units where bytes >= 1 << unit.shift {
      let tenths = (Double(bytes) / Double(UInt64(1) << unit.shift) * 10).rounded()
      return tenths.truncatingRemainder(dividingBy: 10) == 0 || tenths >= 1000
        ? "\(Int(tenths / 10))\(unit.name)" : "\(Int(tenths / 10)).\(Int(tenths) % 10)\(unit.name)"
    }
    return "\(bytes)B"
  }

  /// A manifest's spelling: a whole number with Ki, Mi, Gi, Ti, with or without B; a bare number is bytes.
  public init?(manifest text: String) {
    self.init(text) { unit in
      switch unit {
      case "": 0
      case "Ki", "KiB": 10
      case "Mi", "MiB": 20
      case "Gi", "GiB": 30
      case "Ti", "TiB": 40
      default: nil
      }
    }
  }

  /// The command line's spelling, binary whatever it is, as docker has it: 256m, 256MB, 256MiB; a bare number is bytes.
  public init?(commandLine text: String) {
    self.init(text) { unit in
      switch unit.lowercased() {
      case "", "b": 0
      case "k", "kb", "kib", "ki": 10
      case "m", "mb", "mib", "mi": 20
      case "g", "gb", "gib", "gi": 30
      case "t", "tb", "tib", "ti": 40
      default: nil
      }
    }
  }

  private init?(_ text: String, shift: (String) -> UInt64?) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    guard let count = UInt64(digits), let shift = shift(String(unit)), count <= UInt64.max >> shift else { return nil }
    bytes = count << shift
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let quantity = ByteQuantity(manifest: text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "\"\(text)\" is not a size; write it as 512MiB or 4GiB")
    }
    self = quantity
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
