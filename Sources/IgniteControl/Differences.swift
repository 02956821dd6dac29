internal import IgniteAPI
internal import IgniteSystem

/// Differences between what a manifest gives, what it gave when it was last applied, and what the object is: the three ways of
/// `kubectl apply`. What neither manifest speaks of is left to the object.
struct Differences {
  /// The spec of an object of which nothing is said.
  let standard: JSONValue
  let current: JSONValue
  /// Whether two texts of a field mean the same, as an image's short and long name.
  let means: (_ field: String, String, String) -> Bool
  private(set) var found: [PlannedChange.FieldChange] = []

  init(standard: JSONValue, current: JSONValue, means: @escaping (String, String, String) -> Bool) {
    self.standard = standard
    self.current = current
    self.means = means
  }

  mutating func collect(_ fields: [Field], given: JSONValue, last: JSONValue) {
    collect(fields, path: "spec", given: given, last: last, standard: standard, current: current, forced: nil)
  }

  private mutating func collect(
    _ fields: [Field], path: String, given: JSONValue, last: JSONValue, standard: JSONValue, current: JSONValue,
    forced: Bool?
  ) {
    for field in fields {
      let name = "\(path).\(field.name)"
      let forces = forced ?? (field.change == .replaces)
      let (new, old) = (given[field.name], current[field.name])
      if case .record(let inner) = field.shape, (new ?? last[field.name]) != nil {
        collect(
          inner, path: name, given: new ?? .object([:]), last: last[field.name] ?? .object([:]),
          standard: standard[field.name] ?? .object([:]), current: old ?? .object([:]), forced: forced)
        continue
      }
      // What is not said any more goes back to what it is where nothing is said.
      guard let wanted = new ?? (last[field.name] == nil ? nil : standard[field.name] ?? .null) else { continue }
      guard !suits(wanted, old ?? .null, name) else { continue }
      found.append(
        .init(field: name, old: old, new: wanted == .null ? nil : wanted, forcesReplacement: forces))
    }
  }

  /// Whether all that is wanted is there; a list's elements may have more than is wanted of them.
  private func suits(_ wanted: JSONValue, _ there: JSONValue, _ field: String) -> Bool {
    switch (wanted, there) {
    case (.object(let fields), _): fields.allSatisfy { suits($1, there[$0] ?? .null, field) }
    case (.array(let some), .array(let others)):
      some.count == others.count && zip(some, others).allSatisfy { suits($0, $1, field) }
    case (.array(let some), .null): some.isEmpty
    case (.string(let one), .string(let other)): one == other || means(field, one, other)
    // Nothing, no and zero are what is left out.
    case (.bool(false), .null), (.integer(0), .null): true
    default: wanted == there
    }
  }
}
