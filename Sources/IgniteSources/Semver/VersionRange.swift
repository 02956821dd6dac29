/// A range of versions, as Masterminds' semver (v3.4), and so Flux, reads it.
///
/// Alternatives are separated by `||`, and each is a list of constraints separated by spaces or commas, all of which must
/// hold: `=`, `!=`, `>`, `<`, `>=`, `<=`, `~`, `^` before a version, of which parts may be left out or be `x` or `*`; `1.2 - 1.4`
/// is both ends and what lies between. Pre-releases are in a range only where one of the alternative's constraints names one:
/// `>=1.0.0-0`.
public struct VersionRange: Sendable, Hashable, CustomStringConvertible {
  private let alternatives: [[Constraint]]
  public let description: String

  static let longest = 512
  static let mostAlternatives = 32

  /// - Throws: SourceError `badSource` that names what could not be read.
  public init(_ text: String) throws(SourceError) {
    description = text
    guard text.utf8.count <= Self.longest else {
      throw SourceError(.badSource, "a range of versions may have \(Self.longest) bytes")
    }
    let texts = text.split(separator: "||", omittingEmptySubsequences: false)
    guard texts.count <= Self.mostAlternatives else {
      throw SourceError(.badSource, "a range of versions may have \(Self.mostAlternatives) alternatives")
    }
    var alternatives: [[Constraint]] = []
    for alternative in texts {
      guard let constraints = Self.constraints(alternative) else {
        throw SourceError(
          .badSource, "\(Words.clean(text, limit: 100)) is no range of versions",
          advice: "write it as >=1.0.0 <2.0.0, ~1.2, ^1.2, 1.x or 1.2 || 1.4")
      }
      alternatives.append(constraints)
    }
    self.alternatives = alternatives
  }

  public func contains(_ version: SemanticVersion) -> Bool {
    alternatives.contains { constraints in
      let takesPrereleases = constraints.contains { !$0.version.prerelease.isEmpty }
      guard version.prerelease.isEmpty || takesPrereleases else { return false }
      return constraints.allSatisfy { $0.holds(version) }
    }
  }

  /// The tag of the highest version in the range. Of versions that differ in their build metadata alone, the last by name.
  public func highest(of tags: some Sequence<String>) -> String? {
    var best: (version: SemanticVersion, tag: String)?
    for tag in tags {
      guard let version = SemanticVersion(tag), contains(version) else { continue }
      if let best, version < best.version || (version == best.version && tag < best.tag) { continue }
      best = (version, tag)
    }
    return best?.tag
  }

  private static func constraints(_ text: Substring) -> [Constraint]? {
    var words = words(text)
    if words.isEmpty { return text.contains(",") ? nil : [Constraint(.equal, VersionParts("*"))].compactMap { $0 } }
    while let dash = words.firstIndex(of: "-") {
      guard dash > 0, dash + 1 < words.count else { return nil }
      let (low, high) = (words[dash - 1], words[dash + 1])
      guard !Constraint.startsWithOperator(low), !Constraint.startsWithOperator(high) else { return nil }
      words.replaceSubrange(dash - 1...dash + 1, with: [">=" + low, "<=" + high])
    }
    var result: [Constraint] = []
    for word in words {
      guard let constraint = Constraint(word) else { return nil }
      result.append(constraint)
    }
    return result
  }

  /// The constraints' texts; an operator that stands apart goes with what follows it. Empty where a comma has nothing beside it.
  private static func words(_ text: Substring) -> [String] {
    var result: [String] = []
    for piece in text.split(separator: ",", omittingEmptySubsequences: false) {
      var waiting = ""
      let words = piece.split { $0 == " " || $0 == "\t" }
      if words.isEmpty { return [] }
      for word in words {
        if Constraint.isOperator(word) && waiting.isEmpty {
          waiting = String(word)
        } else {
          result.append(waiting + word)
          waiting = ""
        }
      }
      if !waiting.isEmpty { result.append(waiting) }
    }
    return result
  }
}

/// One operator with one version.
struct Constraint: Sendable, Hashable {
  enum Relation: Sendable {
    case equal, different, above, below, atLeast, atMost, tilde, caret
  }

  private let relation: Relation
  let version: SemanticVersion
  /// How many of its numbers are given; 0 is `*`.
  private let given: Int

  /// The longer ones first.
  private static let operators: [(String, Relation)] = [
    ("!=", .different), (">=", .atLeast), ("=>", .atLeast), ("<=", .atMost), ("=<", .atMost), ("~>", .tilde),
    ("=", .equal), (">", .above), ("<", .below), ("~", .tilde), ("^", .caret),
  ]

  static func isOperator(_ text: some StringProtocol) -> Bool { operators.contains { $0.0 == text } }
  static func startsWithOperator(_ text: String) -> Bool { operators.contains { text.hasPrefix($0.0) } }

  init?(_ text: String) {
    let found = Self.operators.first { text.hasPrefix($0.0) }
    self.init(found?.1 ?? .equal, VersionParts(text.dropFirst(found?.0.count ?? 0)))
  }

  init?(_ relation: Relation, _ parts: VersionParts?) {
    guard let parts else { return nil }
    self.relation = relation
    version = parts.version
    given = parts.given
  }

  func holds(_ other: SemanticVersion) -> Bool {
    switch relation {
    case .equal: given == 3 ? other == version : isWithin(other, shared: given)
    case .different:
      given == 3
        ? other != version
        : other.core.prefix(given) != version.core.prefix(given)
          || (given == 2 && other.prerelease != version.prerelease)
    case .above:
      // Above 11 is 12 and more, above 11.1 is 11.2 and more.
      switch given {
      case 1: other.major > version.major
      case 2: (other.major, other.minor) > (version.major, version.minor)
      default: other > version
      }
    case .below: other < version
    case .atLeast: other >= version
    case .atMost:
      switch given {
      case 0, 1: given == 0 || other.major <= version.major
      case 2: (other.major, other.minor) <= (version.major, version.minor)
      default: other <= version
      }
    // ~0.0.0 takes every version, as Masterminds has it.
    case .tilde: given == 3 && version.core == [0, 0, 0] ? other >= version : isWithin(other, shared: min(given, 2))
    case .caret: isWithin(other, shared: caretShared)
    }
  }

  /// The numbers that `^` keeps: all up to the first that is not zero, or the last that is given.
  private var caretShared: Int {
    if given == 0 { return 0 }
    return min((version.core.firstIndex { $0 != 0 } ?? given - 1) + 1, given)
  }

  /// Not less, and with the same first numbers.
  private func isWithin(_ other: SemanticVersion, shared: Int) -> Bool {
    other >= version && other.core.prefix(shared) == version.core.prefix(shared)
  }
}
