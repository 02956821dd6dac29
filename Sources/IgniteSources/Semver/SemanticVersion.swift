/// A version by semver.org 2.0.0: three numbers, with a `v` before them at most; pre-release; build metadata.
public struct SemanticVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
  public let major: UInt64
  public let minor: UInt64
  public let patch: UInt64
  /// Its identifiers; empty for a release.
  public let prerelease: [String]
  /// Without weight in comparisons.
  public let build: String

  static let longest = 256

  /// Strict but for the `v`, as Flux takes tags: nil for `1.2`, `01.2.3` and `release-1.2.3`.
  public init?(_ text: some StringProtocol) {
    guard text.utf8.count <= Self.longest, let parts = VersionParts(text) else { return nil }
    guard parts.numbers.count == 3, !parts.hasWildcard, let numbers = parts.strictNumbers else { return nil }
    for identifier in parts.prerelease
    where Self.isNumeric(identifier) && identifier.hasPrefix("0") && identifier != "0" {
      return nil
    }
    self.init(numbers[0], numbers[1], numbers[2], parts.prerelease, build: parts.build)
  }

  init(_ major: UInt64, _ minor: UInt64, _ patch: UInt64, _ prerelease: [String] = [], build: String = "") {
    self.major = major
    self.minor = minor
    self.patch = patch
    self.prerelease = prerelease
    self.build = build
  }

  public var description: String {
    "\(major).\(minor).\(patch)" + (prerelease.isEmpty ? "" : "-" + prerelease.joined(separator: "."))
      + (build.isEmpty ? "" : "+" + build)
  }

  /// The three numbers alone.
  var core: [UInt64] { [major, minor, patch] }

  public static func < (left: SemanticVersion, right: SemanticVersion) -> Bool { left.order(right) < 0 }
  public static func == (left: SemanticVersion, right: SemanticVersion) -> Bool { left.order(right) == 0 }
  public func hash(into hasher: inout Hasher) {
    hasher.combine(core)
    hasher.combine(prerelease)
  }

  /// Below zero, zero or above it (section 11).
  private func order(_ other: SemanticVersion) -> Int {
    for (left, right) in zip(core, other.core) where left != right { return left < right ? -1 : 1 }
    if prerelease.isEmpty || other.prerelease.isEmpty {
      return (prerelease.isEmpty ? 1 : 0) - (other.prerelease.isEmpty ? 1 : 0)
    }
    for (left, right) in zip(prerelease, other.prerelease) where left != right {
      switch (Self.isNumeric(left), Self.isNumeric(right)) {
      case (true, true):
        // Without leading zeros the longer number is the larger one, whatever its size.
        return (left.utf8.count, left) < (right.utf8.count, right) ? -1 : 1
      case (true, false): return -1
      case (false, true): return 1
      case (false, false): return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
      }
    }
    return prerelease.count - other.prerelease.count
  }

  private static func isNumeric(_ text: String) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } }
}

/// The pieces of a version, or of a version with parts left out or written as `x`, `X` or `*`.
struct VersionParts {
  /// One to three; nil for a wildcard.
  var numbers: [UInt64?] = []
  /// The same as they are written.
  private var texts: [Substring] = []
  var prerelease: [String] = []
  var build = ""

  init?(_ text: some StringProtocol) {
    var rest = Substring(text)
    if rest.hasPrefix("v") { rest = rest.dropFirst() }
    if let plus = rest.firstIndex(of: "+") {
      build = String(rest[rest.index(after: plus)...])
      rest = rest[..<plus]
      guard Self.identifiers(build) != nil else { return nil }
    }
    if let dash = rest.firstIndex(of: "-") {
      guard let identifiers = Self.identifiers(rest[rest.index(after: dash)...]) else { return nil }
      prerelease = identifiers
      rest = rest[..<dash]
    }
    texts = rest.split(separator: ".", omittingEmptySubsequences: false)
    guard texts.count <= 3 else { return nil }
    for part in texts {
      if ["x", "X", "*"].contains(part) {
        numbers.append(nil)
      } else {
        guard !part.isEmpty, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt64(part) else {
          return nil
        }
        numbers.append(number)
      }
    }
  }

  var hasWildcard: Bool { numbers.contains { $0 == nil } }

  /// Without leading zeros.
  var strictNumbers: [UInt64]? {
    guard texts.allSatisfy({ $0 == "0" || !$0.hasPrefix("0") }) else { return nil }
    return numbers.compactMap { $0 }
  }

  /// How many numbers there are ahead of the first wildcard.
  var given: Int { numbers.firstIndex { $0 == nil } ?? numbers.count }

  /// With zeros for what is not given.
  var version: SemanticVersion {
    let full = (0..<3).map { $0 < given ? numbers[$0] ?? 0 : 0 }
    return SemanticVersion(full[0], full[1], full[2], prerelease)
  }

  private static func identifiers(_ text: some StringProtocol) -> [String]? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let good = parts.allSatisfy { part in
      !part.isEmpty
        && part.utf8.allSatisfy { byte in
          (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x2d
        }
    }
    return good ? parts.map { String($0) } : nil
  }
}
