// A message is a row of fields: UInt16 tag, UInt32 length, value. Unknown tags are passed over, absent ones have
// defaults, so that either end may be older than the other.

/// Why a message could not be read.
public enum MessageError: Error, Equatable, Sendable {
  /// A length points past the message's end.
  case truncated
  /// A field's value is not of its type, or too many values came for a list.
  case malformed(tag: UInt16)
  /// A field that the message cannot do without is absent.
  case missing(tag: UInt16)
}

/// Writes fields into a message.
public struct MessageWriter: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  public mutating func put(_ tag: UInt16, bytes value: [UInt8]) {
    bytes.appendLittleEndian(tag)
    bytes.appendLittleEndian(UInt32(value.count))
    bytes.append(contentsOf: value)
  }

  public mutating func put(_ tag: UInt16, string value: String) { put(tag, bytes: Array(value.utf8)) }

  public mutating func put(_ tag: UInt16, number value: UInt64) {
    var encoded: [UInt8] = []
    encoded.appendLittleEndian(value)
    put(tag, bytes: encoded)
  }

  public mutating func put(_ tag: UInt16, flag value: Bool) {
    if value { put(tag, number: 1) }
  }

  /// A list is its tag repeated.
  public mutating func put(_ tag: UInt16, list values: [[UInt8]]) {
    for value in values { put(tag, bytes: value) }
  }
}

/// One field of a message.
public struct MessageField: Sendable {
  public let tag: UInt16
  public let bytes: [UInt8]

  /// The value as text; nil where it is not UTF-8.
  public var string: String? { String(validating: bytes, as: UTF8.self) }

  public func number() throws(MessageError) -> UInt64 {
    guard bytes.count == 8 else { throw .malformed(tag: tag) }
    return bytes.littleEndian(at: 0)
  }

  public func flag() throws(MessageError) -> Bool { try number() != 0 }
}

/// Reads a message's fields in order.
public struct MessageReader: Sendable {
  private let bytes: [UInt8]
  private var offset = 0

  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The next field; nil at the end.
  public mutating func next() throws(MessageError) -> MessageField? {
    let left = bytes.count - offset
    if left == 0 { return nil }
    guard left >= 6 else { throw .truncated }
    let tag: UInt16 = bytes.littleEndian(at: offset)
    let length: UInt32 = bytes.littleEndian(at: offset + 2)
    guard UInt64(length) <= UInt64(left - 6) else { throw .truncated }
    let begin = offset + 6
    offset = begin + Int(length)
    return MessageField(tag: tag, bytes: Array(bytes[begin..<offset]))
  }
}
