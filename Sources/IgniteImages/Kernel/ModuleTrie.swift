/// kmod's binary index (libkmod-index.h, version 2.1): a prefix tree over 7-bit keys, written children first, numbers
/// big-endian.
struct ModuleTrie {
  private static let magic: UInt32 = 0xb007_f457
  private static let version: UInt32 = 0x0002_0001
  /// A longer key is left out: aliases are some hundred bytes at most, and each byte may be one level of the tree.
  private static let keyLimit = 1024

  private struct Entry {
    var key: [UInt8]
    var value: String
    var priority: Int
    /// The order of adding, which decides between equal priorities.
    var number: Int
  }

  /// The flags in the four upper bits of a node's offset.
  private enum Flag {
    static let prefix: UInt32 = 0x8000_0000
    static let values: UInt32 = 0x4000_0000
    static let children: UInt32 = 0x2000_0000
  }

  private var entries: [Entry] = []

  /// Adds a value; a key may have several, the lowest priority first. Keys that are not 7-bit are left out, since the
  /// format cannot hold them.
  mutating func add(_ key: String, _ value: String, priority: Int) {
    let bytes = Array(key.utf8)
    guard !bytes.isEmpty, bytes.count <= Self.keyLimit, bytes.allSatisfy({ $0 > 0 && $0 < 128 }) else { return }
    entries.append(Entry(key: bytes, value: value, priority: priority, number: entries.count))
  }

  /// The index file's bytes.
  func encoded() -> [UInt8] {
    let sorted = entries.sorted { a, b in
      if a.key != b.key { return a.key.lexicographicallyPrecedes(b.key) }
      return (a.priority, a.number) < (b.priority, b.number)
    }
    var output: [UInt8] = []
    output.append(bigEndian: Self.magic)
    output.append(bigEndian: Self.version)
    output.append(bigEndian: 0)
    // The root never has a prefix of its own.
    let root = sorted.isEmpty ? 0 : Self.encode(sorted[...], depth: 0, prefixEnd: 0, &output)
    output.replaceSubrange(8..<12, with: root.bigEndianBytes)
    return output
  }

  /// Writes the node of `entries`, whose keys agree up to `prefixEnd`; its prefix begins at `depth`.
  private static func encode(
    _ entries: ArraySlice<Entry>, depth: Int, prefixEnd: Int, _ output: inout [UInt8]
  ) -> UInt32 {
    var rest = entries
    let values = rest.prefix { $0.key.count == prefixEnd }
    rest = rest.dropFirst(values.count)

    var children: [(byte: UInt8, offset: UInt32)] = []
    while let first = rest.first {
      let byte = first.key[prefixEnd]
      let group = rest.prefix { $0.key[prefixEnd] == byte }
      rest = rest.dropFirst(group.count)
      children.append((byte, encode(group, depth: prefixEnd + 1, prefixEnd: commonEnd(group), &output)))
    }

    // 28 bits of offset hold a quarter of a gigabyte, far above what the modules may say of themselves.
    var offset = UInt32(truncatingIfNeeded: output.count) & 0x0fff_ffff
    if prefixEnd > depth, let key = entries.first?.key {
      offset |= Flag.prefix
      output += key[depth..<prefixEnd]
      output.append(0)
    }
    if let first = children.first, let last = children.last {
      offset |= Flag.children
      output += [first.byte, last.byte]
      var next = children[...]
      for byte in first.byte...last.byte {
        let child = next.first?.byte == byte ? next.removeFirst().offset : 0
        output.append(bigEndian: child)
      }
    }
    if !values.isEmpty {
      offset |= Flag.values
      output.append(bigEndian: UInt32(truncatingIfNeeded: values.count))
      for entry in values {
        output.append(bigEndian: UInt32(truncatingIfNeeded: entry.priority))
        output += entry.value.utf8
        output.append(0)
      }
    }
    return offset
  }

  /// Up to where the keys of a sorted group agree: what the first and the last have in common.
  private static func commonEnd(_ group: ArraySlice<Entry>) -> Int {
    guard let first = group.first?.key, let last = group.last?.key else { return 0 }
    return zip(first, last).prefix { $0 == $1 }.count
  }
}

extension UInt32 {
  fileprivate var bigEndianBytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (24 - 8 * UInt32($0))) } }
}

extension [UInt8] {
  fileprivate mutating func append(bigEndian value: UInt32) { append(contentsOf: value.bigEndianBytes) }
}
