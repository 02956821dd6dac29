internal import FoundationEssentials

/// Any JSON: for protocols whose answers differ by command, and for documents of which a part is changed and the rest kept.
public enum JSONValue: Sendable, Hashable, Codable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }

  /// A field of an object; nil for what is none. Setting nil takes the field away.
  public subscript(_ name: String) -> JSONValue? {
    get {
      if case .object(let fields) = self { return fields[name] }
      return nil
    }
    set {
      var fields = fields
      fields[name] = newValue
      self = .object(fields)
    }
  }

  /// An object's fields; none for what is no object.
  public var fields: [String: JSONValue] {
    if case .object(let fields) = self { return fields }
    return [:]
  }

  public var string: String? {
    if case .string(let value) = self { return value }
    return nil
  }

  public var integer: Int64? {
    if case .integer(let value) = self { return value }
    return nil
  }

  /// A list's values; none for what is no list.
  public var items: [JSONValue] {
    if case .array(let values) = self { return values }
    return []
  }

  /// An object's fields that are text.
  public var texts: [String: String] { fields.compactMapValues(\.string) }

  public var bool: Bool? {
    if case .bool(let value) = self { return value }
    return nil
  }
}

extension JSONValue {
  /// A string that is not empty.
  public var text: String? { string.flatMap { $0.isEmpty ? nil : $0 } }

  /// Reads one value.
  ///
  /// - Throws: DecodingError.
  public static func parse(_ bytes: [UInt8]) throws -> JSONValue {
    try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self = .string(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(Dictionary(elements) { first, _ in first })
  }
}
