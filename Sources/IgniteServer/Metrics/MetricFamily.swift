/// Metrics of one name, as Prometheus' text format 0.0.4 has them.
public struct MetricFamily: Sendable, Equatable {
  public enum Kind: String, Sendable {
    case counter
    case gauge
    case histogram
  }

  /// A line: the name's suffix (of a histogram), labels in their order, and the value.
  public struct Sample: Sendable, Equatable {
    public var suffix = ""
    public var labels: [(name: String, value: String)] = []
    public var value: Double

    public init(suffix: String = "", labels: [(name: String, value: String)] = [], value: Double) {
      self.suffix = suffix
      self.labels = labels
      self.value = value
    }

    public static func == (one: Sample, other: Sample) -> Bool {
      one.suffix == other.suffix && one.value == other.value && one.labels.elementsEqual(other.labels, by: ==)
    }
  }

  public var name: String
  public var kind: Kind
  public var help: String
  public var samples: [Sample]

  public init(_ name: String, _ kind: Kind, help: String, samples: [Sample]) {
    self.name = name
    self.kind = kind
    self.help = help
    self.samples = samples
  }

  /// A family of one value.
  public init(_ name: String, _ kind: Kind, help: String, _ value: Double) {
    self.init(name, kind, help: help, samples: [Sample(value: value)])
  }
}

/// https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format".
public enum PrometheusText {
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// The families, by name; of two of one name the first.
  public static func render(_ families: [MetricFamily]) -> String {
    var seen: Set<String> = []
    var text = ""
    for family in families.sorted(by: { $0.name < $1.name })
    where !family.samples.isEmpty && seen.insert(family.name).inserted {
      text += "# HELP \(family.name) \(escaped(family.help, quotes: false))\n"
      text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
      for sample in family.samples {
        let labels = sample.labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",")
        text += family.name + sample.suffix + (labels.isEmpty ? "" : "{\(labels)}") + " \(number(sample.value))\n"
      }
    }
    return text
  }

  /// A name of the alphabet `[a-zA-Z_:][a-zA-Z0-9_:]*`; labels have no colons.
  static func name(_ text: String, allowsColons: Bool = true) -> String {
    var name = ""
    for byte in text.utf8 {
      let isLetter = (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x5f
      let isDigit = (0x30...0x39).contains(byte)
      if isDigit && name.isEmpty { name = "_" }
      name += isLetter || isDigit || (allowsColons && byte == 0x3a) ? String(UnicodeScalar(byte)) : "_"
    }
    return name.isEmpty ? "_" : name
  }

  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return Int64(exactly: value).map(String.init) ?? "\(value)"
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": escaped += "\\\\"
      case "\n": escaped += "\\n"
      case "\"" where quotes: escaped += "\\\""
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
