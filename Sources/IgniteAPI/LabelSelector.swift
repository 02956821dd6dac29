/// Which labels an object has to have, in Kubernetes' words: `app=shop,tier!=db,env in (a,b),!old`.
public struct LabelSelector: Sendable, Equatable {
  enum Requirement: Sendable, Equatable {
    case among(String, Set<String>)
    /// Objects without the label suit, too.
    case notAmong(String, Set<String>)
    case there(String)
    case absent(String)
  }

  let requirements: [Requirement]

  /// nil for a text that makes no sense.
  public init?(_ text: String) {
    var requirements: [Requirement] = []
    for part in Self.parts(text) {
      guard let requirement = Self.requirement(part) else { return nil }
      requirements.append(requirement)
    }
    self.requirements = requirements
  }

  public func suits(_ labels: [String: String]) -> Bool {
    requirements.allSatisfy { requirement in
      switch requirement {
      case .among(let key, let values): labels[key].map(values.contains) ?? false
      case .notAmong(let key, let values): !(labels[key].map(values.contains) ?? false)
      case .there(let key): labels[key] != nil
      case .absent(let key): labels[key] == nil
      }
    }
  }

  /// At the commas that are in no parentheses.
  private static func parts(_ text: String) -> [String] {
    var (parts, open) = ([""], false)
    for character in text {
      if character == "," && !open {
        parts.append("")
        continue
      }
      if character == "(" { open = true } else if character == ")" { open = false }
      parts[parts.count - 1].append(character)
    }
    return parts
  }

  private static func requirement(_ part: String) -> Requirement? {
    let text = trimmed(part[...])
    if let end = text.firstIndex(of: "("), text.hasSuffix(")") {
      let words = text[..<end].split(separator: " ").map(String.init)
      let values = text[text.index(after: end)...].dropLast().split(separator: ",").map { trimmed($0) }
      guard words.count == 2, isKey(words[0]), !values.isEmpty, values.allSatisfy(isValue) else { return nil }
      switch words[1] {
      case "in": return .among(words[0], Set(values))
      case "notin": return .notAmong(words[0], Set(values))
      default: return nil
      }
    }
    if text.hasPrefix("!") {
      let key = trimmed(text.dropFirst())
      return isKey(key) ? .absent(key) : nil
    }
    guard let sign = text.firstIndex(of: "=") else { return isKey(text) ? .there(text) : nil }
    let isNot = text[..<sign].hasSuffix("!")
    let key = trimmed(isNot ? text[..<sign].dropLast() : text[..<sign])
    var rest = text[text.index(after: sign)...]
    if !isNot, rest.hasPrefix("=") { rest = rest.dropFirst() }
    let value = trimmed(rest)
    guard isKey(key), isValue(value) else { return nil }
    return isNot ? .notAmong(key, [value]) : .among(key, [value])
  }

  private static func trimmed(_ text: Substring) -> String {
    String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }

  private static func isKey(_ text: String) -> Bool { !text.isEmpty && text.allSatisfy { !" =!,()".contains($0) } }
  private static func isValue(_ text: String) -> Bool { text.allSatisfy { !" =!,()".contains($0) } }
}
