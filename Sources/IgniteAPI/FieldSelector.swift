public import IgniteSystem

/// Which fields an object has to have, in Kubernetes' words: `metadata.name=web,status.phase!=Running`.
public struct FieldSelector: Sendable, Equatable {
  public struct Requirement: Sendable, Equatable {
    /// `metadata.name`, `status.phase`.
    public var path: String
    /// As the object's JSON has it; a field that is absent is the empty text.
    public var value: String
    /// The value is what it must not have.
    public var isNot: Bool

    public init(path: String, value: String, isNot: Bool = false) {
      self.path = path
      self.value = value
      self.isNot = isNot
    }

    public func suits(_ object: JSONValue) -> Bool {
      let found = path.split(separator: ".").reduce(Optional(object)) { $0?[String($1)] }
      return (Self.text(found) == value) != isNot
    }

    private static func text(_ value: JSONValue?) -> String {
      switch value {
      case .string(let text)?: text
      case .integer(let number)?: "\(number)"
      case .number(let number)?: "\(number)"
      case .bool(let flag)?: "\(flag)"
      case nil, .null?, .array?, .object?: ""
      }
    }
  }

  /// So many may be given.
  public static let most = 64

  public let requirements: [Requirement]

  /// Terms with `=`, `==` or `!=` and commas between them; a comma, an equals sign or a backslash of a value has a backslash
  /// before it.
  /// - Returns: nil for a text that makes no sense, and for more than `most` terms.
  public init?(_ text: String) {
    var requirements: [Requirement] = []
    for term in Self.split(text[...], at: ",") where !term.isEmpty {
      guard let requirement = Self.requirement(term), requirements.count < Self.most else { return nil }
      requirements.append(requirement)
    }
    guard !requirements.isEmpty else { return nil }
    self.requirements = requirements
  }

  public func suits(_ object: JSONValue) -> Bool { requirements.allSatisfy { $0.suits(object) } }

  private static func requirement(_ term: Substring) -> Requirement? {
    let parts = split(term, at: "=", once: true)
    guard parts.count == 2 else { return nil }
    let isNot = parts[0].hasSuffix("!")
    var value = parts[1]
    if !isNot, value.hasPrefix("=") { value = value.dropFirst() }
    let path = parts[0].dropLast(isNot ? 1 : 0).drop { $0 == " " }
    guard !path.isEmpty, let value = unescaped(value) else { return nil }
    return Requirement(path: String(path), value: value, isNot: isNot)
  }

  /// At the signs that have no backslash before them.
  private static func split(_ text: Substring, at sign: Character, once: Bool = false) -> [Substring] {
    var (parts, begin, isEscaped) = ([Substring](), text.startIndex, false)
    for index in text.indices {
      if isEscaped {
        isEscaped = false
      } else if text[index] == "\\" {
        isEscaped = true
      } else if text[index] == sign, !once || parts.isEmpty {
        parts.append(text[begin..<index])
        begin = text.index(after: index)
      }
    }
    return parts + [text[begin...]]
  }

  /// nil where a sign that has a meaning stands without a backslash, or a backslash before one that has none.
  private static func unescaped(_ text: Substring) -> String? {
    var (value, isEscaped) = ("", false)
    for character in text {
      let isSign = character == "," || character == "=" || character == "\\"
      guard isEscaped ? isSign : character != "," && character != "=" else { return nil }
      if !isEscaped, character == "\\" {
        isEscaped = true
        continue
      }
      value.append(character)
      isEscaped = false
    }
    return isEscaped ? nil : value
  }
}

extension KindSchema {
  /// The fields by which objects of the kind can be chosen.
  public var selectableFields: [String] {
    let own =
      switch kind {
      case VM.kind:
        [
          "spec.hypervisor", "spec.image.oci", "spec.kernel.oci", "spec.resources.cpus", "spec.resources.memory",
          "spec.state", "spec.updatePolicy", "status.accelerator", "status.exitCode", "status.health",
          "status.hypervisor", "status.phase", "status.template",
        ]
      case Volume.kind: ["spec.size"]
      case VMSet.kind: ["spec.replicas", "spec.update", "status.ready", "status.total"]
      default: ["status.ready", "status.total"]
      }
    return ["metadata.name", "metadata.namespace", "metadata.uid"] + own
  }
}
