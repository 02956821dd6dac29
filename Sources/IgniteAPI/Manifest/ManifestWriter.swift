internal import FoundationEssentials
public import IgniteSystem
internal import Yams

extension Shape {
  /// A value of the object's JSON as a manifest has it; what the schema does not know is left out.
  func written(_ value: JSONValue) -> JSONValue {
    switch (self, value) {
    case (.seconds, .integer(let span)): return .string(Self.span(span * 1000))
    case (.milliseconds, .integer(let span)): return .string(Self.span(span))
    case (.list(let element), .array(let items)): return .array(items.map(element.written))
    case (.record(let fields), .object(let values)):
      return .object(
        Dictionary(
          uniqueKeysWithValues: fields.compactMap { field in
            values[field.name].flatMap { $0 == field.standard ? nil : (field.name, field.shape.written($0)) }
          }))
    case (.object, .object(var values)):
      if let schema = values["kind"]?.string.flatMap(KindSchema.find), let spec = values["spec"] {
        values["spec"] = Shape.record(schema.spec).written(spec)
      }
      return .object(values)
    default: return value
    }
  }

  /// `1m30s`, `500ms`, `0s`.
  private static func span(_ milliseconds: Int64) -> String {
    var (rest, text) = (milliseconds, "")
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] as [(String, Int64)]
    where rest >= size {
      text += "\(rest / size)\(unit)"
      rest %= size
    }
    return text.isEmpty ? "0s" : text
  }
}

/// Objects as manifests: what `ManifestReader` reads.
public enum ManifestWriter {
  /// - Parameter object: a VM or a volume.
  /// - Returns: its apiVersion, kind, metadata, spec and status; what a manifest cannot say of the spec is left out.
  public static func manifest(of object: some Encodable, kind: String) throws -> JSONValue {
    var value = try JSONValue.parse(Array(try APICoding.encoder().encode(object)))
    guard let schema = KindSchema.find(kind: kind), let spec = value["spec"] else { return value }
    let written = Shape.record(schema.spec).written(spec)
    guard schema.isFlat else {
      value["spec"] = written
      return value
    }
    (value["spec"], value["status"]) = (nil, nil)
    for (name, item) in written.fields { value[name] = item }
    return value
  }

  /// Documents of YAML, each after a line of hyphens where there are several.
  public static func yaml(_ objects: [JSONValue]) throws -> String {
    try objects.map { try Yams.serialize(node: node($0), width: -1, allowUnicode: true) }.joined(separator: "---\n")
  }

  private static let order = ["apiVersion", "kind", "metadata", "spec", "status"]

  private static func node(_ value: JSONValue) -> Node {
    switch value {
    case .null: return Node("null", Tag(.null))
    case .bool(let flag): return Node("\(flag)", Tag(.bool))
    case .integer(let number): return Node("\(number)", Tag(.int))
    case .number(let number): return Node("\(number)", Tag(.float))
    case .string(let text):
      return Node(text, Tag(.str), isPlain(text) ? .plain : isBlock(text) ? .literal : .doubleQuoted)
    case .array(let items): return Node(items.map(node), Tag(.seq), items.isEmpty ? .flow : .block)
    case .object(let fields):
      let names = fields.keys.sorted { one, other in
        let (a, b) = (order.firstIndex(of: one) ?? order.count, order.firstIndex(of: other) ?? order.count)
        return a == b ? one < other : a < b
      }
      return Node(
        names.map { (node(.string($0)), node(fields[$0] ?? .null)) }, Tag(.map), fields.isEmpty ? .flow : .block)
    }
  }

  /// Whether the text is lines that a reader of YAML gives back as they stand.
  private static func isBlock(_ text: String) -> Bool {
    guard let first = text.unicodeScalars.first, first != " ", first != "\n", first != "\t", text.contains("\n") else {
      return false
    }
    var last: Unicode.Scalar = "\n"
    for scalar in text.unicodeScalars {
      let isBlank = last == " " || last == "\t"
      if scalar == "\n" ? isBlank : scalar.value < 32 && scalar != "\t" || scalar.value > 126 { return false }
      last = scalar
    }
    return last != " " && last != "\t" && !text.hasSuffix("\n\n")
  }

  /// Whether no reader of YAML takes the text for something else.
  private static func isPlain(_ text: String) -> Bool {
    guard let first = text.utf8.first, (65...90).contains(first) || (97...122).contains(first) || first == 47 else {
      return false
    }
    let words: Set<String> = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
    return !words.contains(text.lowercased())
      && text.utf8.allSatisfy { byte in
        (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte)
          || [45, 46, 47, 95].contains(byte)
      }
  }
}
