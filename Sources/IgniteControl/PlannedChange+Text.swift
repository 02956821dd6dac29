internal import IgniteAPI
internal import IgniteSystem

extension PlannedChange.FieldChange {
  /// `"a" -> "b"`; the new value alone where there was none. Nil where the values are not told.
  public func values(isNew: Bool = false) -> String? {
    if isSummary == true || isHidden == true { return nil }
    return isNew ? Self.text(new) : "\(Self.text(old)) -> \(Self.text(new))"
  }

  /// What is said instead of values that are not told.
  public var unsaid: String { isSummary == true ? "differs within" : "a secret's" }

  private static func text(_ value: JSONValue?) -> String {
    switch value {
    case nil, .null?: "(none)"
    case .string(let text)?: "\"\(text)\""
    case .integer(let number)?: "\(number)"
    case .number(let number)?: "\(number)"
    case .bool(let flag)?: "\(flag)"
    case .array(let items)?: "[" + items.map(text).joined(separator: ", ") + "]"
    case .object(let fields)?:
      "{" + fields.sorted { $0.key < $1.key }.map { "\($0.key): \(text($0.value))" }.joined(separator: ", ") + "}"
    }
  }
}

extension PlannedChange {
  /// Of a message about drift, in bytes.
  private static let mostDrift = 2000

  /// How the object differs from what is declared, in one line.
  var difference: String {
    if action == .create { return "it is not there" }
    if action == .delete { return reason ?? "it is not declared any more" }
    let fields = changes.map { "\($0.field) = \($0.values() ?? $0.unsaid)" }.joined(separator: "; ")
    let text = [reason, fields.isEmpty ? nil : fields].compactMap(\.self).joined(separator: ": ")
    return text.utf8.count <= Self.mostDrift ? text : String(text.prefix(Self.mostDrift / 4)) + "…"
  }
}
