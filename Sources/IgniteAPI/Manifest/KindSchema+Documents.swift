internal import FoundationEssentials
public import IgniteSystem

extension Shape {
  /// In one or two words, for lists.
  public var title: String {
    switch self {
    case .text: "text"
    case .word(let words): words.joined(separator: " | ")
    case .whole(let range):
      range.upperBound == .max
        ? "number from \(range.lowerBound)" : "number, \(range.lowerBound) to \(range.upperBound)"
    case .flag: "true | false"
    case .size: "size (512MiB)"
    case .seconds, .milliseconds: "time (1m30s)"
    case .custom(let expectation, _): expectation
    case .list(let element): "list of \(element.isRecord ? "mappings" : element.title)"
    case .map: "mapping of text"
    case .binaryMap: "mapping of base64"
    case .record: "mapping"
    case .object(let kinds): kinds.joined(separator: " | ")
    }
  }

  private var isRecord: Bool {
    if case .record = self { return true }
    return false
  }

  /// The fields of a mapping, or of a list's mappings.
  public var fields: [Field]? {
    switch self {
    case .record(let fields): fields
    case .list(let element): element.fields
    default: nil
    }
  }

  /// As JSON Schema (draft 2020-12) has it.
  var jsonSchema: JSONValue {
    switch self {
    case .text: ["type": "string"]
    case .word(let words): ["enum": .array(words.map(JSONValue.string))]
    case .whole(let range):
      range.upperBound == .max
        ? ["type": "integer", "minimum": .integer(range.lowerBound)]
        : ["type": "integer", "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound)]
    case .flag: ["type": "boolean"]
    case .size: ["type": ["string", "integer"], "pattern": "^[0-9]+ ?([KMGT]iB?)?$"]
    case .seconds, .milliseconds: ["type": "string", "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"]
    case .custom: ["type": ["string", "number", "boolean"]]
    case .list(let element): ["type": "array", "items": element.jsonSchema]
    case .map: ["type": "object", "additionalProperties": ["type": "string"]]
    case .binaryMap: ["type": "object", "additionalProperties": ["type": "string", "contentEncoding": "base64"]]
    case .record(let fields): Shape.object(fields.map { ($0.name, $0.jsonSchema, $0.isRequired) })
    case .object(let kinds): ["oneOf": .array(kinds.compactMap { KindSchema.find(kind: $0)?.partSchema })]
    }
  }

  static func object(_ fields: [(name: String, schema: JSONValue, isRequired: Bool)]) -> JSONValue {
    var object: JSONValue = [
      "type": "object", "additionalProperties": false,
      "properties": .object(Dictionary(fields.map { ($0.name, $0.schema) }) { first, _ in first }),
    ]
    let required = fields.filter(\.isRequired).map { JSONValue.string($0.name) }
    if !required.isEmpty { object["required"] = .array(required) }
    return object
  }
}

extension Field {
  var jsonSchema: JSONValue {
    var schema = shape.jsonSchema
    schema["description"] = .string(help)
    return schema
  }
}

extension KindSchema {
  /// Why no object of the kind can have the name; nil where one can.
  public func problem(withName name: String) -> String? {
    HostKind.all.contains(kind) ? HostKind.problem(with: name) : ObjectName.problem(with: name)
  }

  /// The spec of an object of which nothing is said.
  public var defaults: JSONValue {
    let encoded = kind == VM.kind ? try? APICoding.encoder().encode(VMSpec(image: VMSpec.Image(oci: ""))) : nil
    return encoded.flatMap { try? JSONValue.parse(Array($0)) } ?? .object([:])
  }

  /// The field of a path below the kind, as `spec.resources.memory`; nil where there is none.
  public func field(at path: [String]) -> Field? {
    let fields = isFlat ? spec : [Field("spec", .record(spec), required: true, "What the object is to be.")]
    var found = Field("", .record(fields), help)
    for name in path {
      guard let next = found.shape.fields?.first(where: { $0.name == name }) else { return nil }
      found = next
    }
    return found
  }

  /// An object of the kind inside another one.
  var partSchema: JSONValue {
    let texts = Shape.map.jsonSchema
    return Shape.object([
      ("kind", ["const": .string(kind)], true),
      ("name", ["type": "string", "maxLength": .integer(63)], true), ("labels", texts, false),
      ("annotations", texts, false), ("dependsOn", Shape.list(.text).jsonSchema, false),
      ("spec", Shape.record(spec).jsonSchema, true),
    ])
  }

  /// JSON Schema of manifests of the kind, for editors.
  public var jsonSchema: JSONValue {
    let texts: JSONValue = ["type": "object", "additionalProperties": ["type": "string"]]
    let version: JSONValue =
      isFlat ? ["enum": [.string(APIVersion.current), "v1"]] : ["const": .string(APIVersion.current)]
    let own =
      isFlat
      ? spec.map { ($0.name, $0.jsonSchema, $0.isRequired) }
      : [("spec", Shape.record(spec).jsonSchema, true), ("status", ["type": "object"], false)]
    let longest: JSONValue = .integer(HostKind.all.contains(kind) ? 255 : 63)
    var schema = Shape.object(
      [
        ("apiVersion", version, true), ("kind", ["const": .string(kind)], true),
        (
          "metadata",
          [
            "type": "object", "required": ["name"],
            "properties": [
              "name": ["type": "string", "maxLength": longest], "namespace": ["const": "default"], "labels": texts,
              "annotations": texts,
            ],
          ], true
        ),
      ] + own)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = .string(kind)
    schema["description"] = .string(help)
    return schema
  }

  /// The page of the kind in docs/api/.
  public var page: String {
    var lines = [
      "# \(kind)", "", help, "",
      "`apiVersion: \(APIVersion.current)`, `kind: \(kind)`. Made from the schema of the program; \(kind.lowercased()).schema.json beside it is for editors.",
      "", "| field | | default | a change | |", "|---|---|---|---|---|",
    ]
    func add(_ fields: [Field], _ path: String, _ defaults: JSONValue) {
      for field in fields {
        let value = defaults[field.name]
        let standard = field.isRequired ? "required" : Self.text(value ?? field.standard).map { "`\($0)`" } ?? ""
        let title = field.shape.title.split(separator: "|").joined(separator: "\\|")
        let change = field.change == .inPlace ? "in place" : "replaces"
        lines.append("| `\(path)\(field.name)` | \(title) | \(standard) | \(change) | \(field.help) |")
        if let inner = field.shape.fields {
          var name = path + field.name
          if case .list = field.shape { name += "[]" }
          add(inner, name + ".", value ?? .object([:]))
        }
      }
    }
    add(spec, isFlat ? "" : "spec.", defaults)
    return lines.joined(separator: "\n") + "\n"
  }

  /// A plain value as it is written; nil for none, and for what is empty.
  public static func text(_ value: JSONValue?) -> String? {
    switch value {
    case .string(let text)?: text.isEmpty ? nil : text
    case .integer(let number)?: "\(number)"
    case .bool(let flag)?: "\(flag)"
    default: nil
    }
  }
}
