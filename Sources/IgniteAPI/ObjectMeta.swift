public import FoundationEssentials

/// What every object has: its identity, its versions, its labels. Kubernetes' ObjectMeta, as far as it is used.
public struct ObjectMeta: Codable, Equatable, Sendable {
  /// Unique within kind and namespace.
  public var name: String
  /// `default` where silent; nil for the kinds that belong to the host.
  public var namespace: String?
  /// 16 lower-case hex digits, made by the store; its short form is the first 12.
  public var uid: String = ""
  /// Counts the changes of the spec.
  public var generation: Int64 = 1
  /// Changes with every write; writers name the one they read.
  public var resourceVersion: String = ""
  public var creationTimestamp: Date = Date(timeIntervalSince1970: 0)
  public var labels: [String: String]?
  public var annotations: [String: String]?
  /// What it belongs to: it goes with the last of them.
  public var ownerReferences: [ObjectReference]?
  /// Who has something to take away before it may go.
  public var finalizers: [String]?
  /// Since when it is to go.
  public var deletionTimestamp: Date?

  public init(name: String, namespace: String? = "default", labels: [String: String]? = nil) {
    self.name = name
    self.namespace = namespace
    self.labels = labels
  }

  /// The UID's first 12 digits, as lists show it.
  public var shortUID: String { String(uid.prefix(12)) }

  /// The title of what it belongs to.
  public var ownerTitle: String? { ownerReferences?.first?.title }
}

/// What an object is known by, where another speaks of it.
public struct ObjectReference: Codable, Hashable, Sendable {
  public var kind: String
  public var name: String
  public var uid: String

  public init(kind: String, name: String, uid: String) {
    self.kind = kind
    self.name = name
    self.uid = uid
  }

  /// `VM/web`.
  public var title: String { "\(kind)/\(name)" }

  /// Kind and name of a title; nil for what is none.
  public static func parts(ofTitle title: String) -> (kind: String, name: String)? {
    let parts = title.split(separator: "/", maxSplits: 1).map(String.init)
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }
}

/// The group and version that objects are written in.
public enum APIVersion {
  public static let group = "ignite.weave.works"
  public static let current = "ignite.weave.works/v1beta1"
}

/// A fact about an object, as Kubernetes' conditions have it.
public struct Condition: Codable, Equatable, Sendable {
  /// The fact's name, as `Isolated`.
  public var type: String
  /// `True`, `False` or `Unknown`.
  public var status: String
  /// One word in CamelCase.
  public var reason: String
  /// A sentence for people.
  public var message: String
  public var lastTransitionTime: Date

  public init(type: String, status: Bool, reason: String, message: String, time: Date) {
    self.type = type
    self.status = status ? "True" : "False"
    self.reason = reason
    self.message = message
    lastTransitionTime = time
  }
}

/// JSON as every object is stored and shown: sorted keys, RFC 3339 dates.
public enum APICoding {
  public static func encoder(pretty: Bool = false) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .iso8601
    encoder.outputFormatting =
      pretty ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.withoutEscapingSlashes]
    return encoder
  }

  public static func decoder() -> JSONDecoder {
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    return decoder
  }
}
