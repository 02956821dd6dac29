internal import FoundationEssentials
public import IgniteSystem

/// An object as a manifest describes it.
public struct Manifest: Codable, Sendable, Equatable {
  /// Where it stands, for messages: `web.yaml:12`.
  public var place: String
  public var kind: String
  public var name: String
  public var labels: [String: String]
  public var annotations: [String: String]
  /// What of its spec is said, and no more; sizes and words as the object's JSON has them.
  public var given: JSONValue
  /// The version of the object that it was read from, and its UID; the object has to be declared still as it was then.
  public var resourceVersion: Int64?
  public var uid: String?
  /// The title of the object that it is a part of.
  public var owner: String?
  /// Titles of those that have to be ready before it is begun with.
  public var dependsOn: [String] = []
  /// The title of the one that has to be ready again before this one is replaced.
  public var rollsAfter: String?
  /// What of it was left out, or is said otherwise by now; each with its place.
  public var warnings: [String] = []

  /// `VM/web`.
  public var title: String { "\(kind)/\(name)" }

  public init(
    place: String, kind: String, name: String, labels: [String: String], annotations: [String: String],
    given: JSONValue, owner: String? = nil, warnings: [String] = []
  ) {
    self.place = place
    self.kind = kind
    self.name = name
    self.labels = labels
    self.annotations = annotations
    self.given = given
    self.owner = owner
    self.warnings = warnings
  }
}

/// What is wrong with a manifest, and where.
public struct ManifestError: UserFacingError, Equatable {
  public let message: String
  public let advice: String?

  public init(_ message: String, advice: String? = nil) {
    self.message = message
    self.advice = advice
  }
}

/// Bounds of what is read.
public enum ManifestLimits {
  /// Bytes of one file.
  public static let fileBytes = 4 << 20
  /// Documents of one file, and objects at once.
  public static let documents = 10_000
  /// Values of one document, those that anchors repeat counted each time.
  static let values = 100_000
  /// Mappings and lists inside each other.
  static let depth = 64
}

extension Manifest {
  /// The spec as its type has it: what is given over the defaults.
  /// - Throws: ManifestError.
  public func spec<Spec: Codable>(over standard: Spec) throws(ManifestError) -> Spec {
    guard let schema = KindSchema.find(kind: kind) else { throw ManifestError("\(place): no kind is named \(kind)") }
    do {
      let encoder = APICoding.encoder()
      let base = try JSONValue.parse(Array(encoder.encode(standard)))
      let merged = base.merged(with: Shape.record(schema.spec).completed(given))
      return try APICoding.decoder().decode(Spec.self, from: encoder.encode(merged))
    } catch {
      throw ManifestError("\(place): \(title): its spec makes no sense: \(userMessage(error))")
    }
  }
}

extension JSONValue {
  /// An object's fields replaced by the other's, deeply; anything else by the other.
  public func merged(with other: JSONValue) -> JSONValue {
    guard case .object(var mine) = self, case .object(let others) = other else { return other }
    for (name, value) in others { mine[name] = mine[name].map { $0.merged(with: value) } ?? value }
    return .object(mine)
  }
}
