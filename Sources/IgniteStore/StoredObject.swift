public import FoundationEssentials
public import IgniteAPI

/// An object as the store keeps it: its identity, and spec and status as JSON that the store does not look into.
public struct StoredObject: Equatable, Sendable {
  public var kind: String
  /// Empty for the kinds that belong to the host.
  public var namespace: String
  public var name: String
  public var uid: String
  public var generation: Int64
  public var resourceVersion: Int64
  public var created: Date
  public var labels: [String: String]
  public var annotations: [String: String]
  /// What it belongs to: gone with the last of them.
  public var owners: [ObjectReference] = []
  /// Who has something to take away before it may go.
  public var finalizers: [String] = []
  /// Since when it is to go; nothing takes that back.
  public var deleted: Date?
  public var spec: Data
  public var status: Data

  public init(
    kind: String, namespace: String, name: String, uid: String, created: Date, labels: [String: String] = [:],
    annotations: [String: String] = [:], spec: Data, status: Data
  ) {
    self.kind = kind
    self.namespace = namespace
    self.name = name
    self.uid = uid
    generation = 1
    resourceVersion = 0
    self.created = created
    self.labels = labels
    self.annotations = annotations
    self.spec = spec
    self.status = status
  }

  /// Whether they differ in status and finalizers at most.
  func isDeclared(as other: StoredObject) -> Bool {
    name == other.name && labels == other.labels && annotations == other.annotations && owners == other.owners
      && spec == other.spec
  }
}
