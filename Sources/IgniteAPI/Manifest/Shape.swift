public import IgniteSystem

/// What a value in a manifest may be, and what it becomes in the object's JSON.
public indirect enum Shape: Sendable {
  case text
  /// One of these words, as spelled.
  case word([String])
  case whole(ClosedRange<Int64>)
  case flag
  /// Bytes: `512MiB`.
  case size
  /// A span of time, `1m30s`; the JSON has whole seconds, or milliseconds.
  case seconds, milliseconds
  /// Text of a form of its own: what is expected, and what becomes of it; nil for what is not of the form.
  case custom(String, @Sendable (String) -> JSONValue?)
  case list(Shape)
  /// Text by text.
  case map
  /// Base64 by text.
  case binaryMap
  case record([Field])
  /// An object of one of these kinds inside another one: kind, name, labels, annotations, dependsOn and spec.
  case object([String])
}

/// A field of a record.
public struct Field: Sendable {
  /// What becomes of an object when the field's value changes.
  public enum Change: Sendable {
    /// It goes on, and goes by the new value.
    case inPlace
    /// Another one has to take its place.
    case replaces
  }

  public var name: String
  public var shape: Shape
  public var isRequired: Bool
  /// The value in a record that is there and does not say one, where its type has no default of its own.
  public var standard: JSONValue?
  public var change: Change
  /// A sentence or two.
  public var help: String

  /// A field that goes with a replacement.
  public init(_ name: String, _ shape: Shape, required: Bool = false, standard: JSONValue? = nil, _ help: String) {
    self.init(name, shape, required: required, standard: standard, .replaces, help)
  }

  public init(
    _ name: String, _ shape: Shape, required: Bool = false, standard: JSONValue? = nil, _ change: Change, _ help: String
  ) {
    self.name = name
    self.shape = shape
    self.isRequired = required
    self.standard = standard
    self.change = change
    self.help = help
  }
}

extension Shape {
  /// For a message: what is expected.
  var expectation: String {
    switch self {
    case .text: "text"
    case .word(let words): words.joined(separator: ", ")
    case .whole(let range): "a whole number from \(range.lowerBound) to \(range.upperBound)"
    case .flag: "true or false"
    case .size: "a size, as 512MiB or 4GiB"
    case .seconds, .milliseconds: "a span of time, as 90s or 1m30s"
    case .custom(let expectation, _): expectation
    case .list: "a list"
    case .map: "a mapping of text to text"
    case .binaryMap: "a mapping of text to base64"
    case .record: "a mapping"
    case .object: "an object"
    }
  }

  /// The records in it filled with what they do not say and their types want.
  public func completed(_ value: JSONValue) -> JSONValue {
    switch (self, value) {
    case (.list(let shape), .array(let items)): return .array(items.map(shape.completed))
    case (.record(let fields), .object(var values)):
      for field in fields {
        if let given = values[field.name] {
          values[field.name] = field.shape.completed(given)
        } else if let standard = field.standard {
          values[field.name] = standard
        }
      }
      return .object(values)
    case (.object, .object(var values)):
      guard let schema = values["kind"]?.string.flatMap(KindSchema.find), let spec = values["spec"] else {
        return value
      }
      values["spec"] = Shape.record(schema.spec).completed(spec)
      return .object(values)
    default: return value
    }
  }
}
