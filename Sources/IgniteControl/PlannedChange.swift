internal import IgniteAPI
public import IgniteSystem

/// What is to become of one object, so that it is as its manifest says.
public struct PlannedChange: Sendable, Codable, Equatable {
  public enum Action: String, Sendable, Codable {
    case none, create, update, replace
    /// It differs in what cannot be changed in place, and its policy forbids to replace it.
    case pending
    case delete
  }

  /// A field whose value changes; nil is none.
  public struct FieldChange: Sendable, Codable, Equatable {
    /// `spec.restart.policy`.
    public var field: String
    public var old: JSONValue?
    public var new: JSONValue?
    /// The object has to be replaced for it.
    public var forcesReplacement: Bool
    /// It differs within; what that comes to is told of the object's parts.
    public var isSummary: Bool?
    /// Its values are a secret's, and not told.
    public var isHidden: Bool?

    init(field: String, old: JSONValue?, new: JSONValue?, forcesReplacement: Bool) {
      self.field = field
      self.old = old
      self.new = new
      self.forcesReplacement = forcesReplacement
    }
  }

  static let ownerField = "metadata.owner"

  public var action: Action
  public var kind: String
  public var name: String
  /// Of the object as it was read; nil for one that is not there.
  public var uid: String?
  public var resourceVersion: String?
  /// The title of what it is a part of.
  public var owner: String?
  /// Why it is to go.
  public var reason: String?
  public var changes: [FieldChange]

  /// Whether something would be done.
  var isWork: Bool { action != .none && action != .pending }

  /// `VM/web`.
  public var title: String { "\(kind)/\(name)" }

  init(
    action: Action, kind: String, name: String, uid: String? = nil, resourceVersion: String? = nil,
    changes: [FieldChange]
  ) {
    self.action = action
    self.kind = kind
    self.name = name
    self.uid = uid
    self.resourceVersion = resourceVersion
    self.changes = changes
  }

  static func deletion(_ title: String, _ metadata: ObjectMeta, reason: String?) -> PlannedChange {
    var change = PlannedChange(
      action: .delete, kind: title.split(separator: "/").first.map(String.init) ?? "", name: metadata.name,
      uid: metadata.uid, resourceVersion: metadata.resourceVersion, changes: [])
    change.reason = reason
    change.owner = metadata.ownerTitle
    return change
  }
}

/// What a set of manifests comes to.
public struct ObjectPlan: Sendable, Codable, Equatable {
  /// In the order in which they are carried out: volumes before the VMs that use them.
  public var changes: [PlannedChange]
  /// What it was made with.
  public var inventory: String?
  public var prunes: Bool?

  init(changes: [PlannedChange], inventory: String? = nil, prunes: Bool = false) {
    self.changes = changes
    self.inventory = inventory
    self.prunes = prunes ? true : nil
  }

  /// Titles of the objects for which the other one has something else to do; their versions may differ.
  func differences(from other: ObjectPlan) -> [String] {
    func work(_ plan: ObjectPlan) -> [String: PlannedChange] {
      Dictionary(
        plan.changes.filter { $0.action != .none }.map { change in
          var change = change
          change.resourceVersion = nil
          return (change.title, change)
        }
      ) { first, _ in first }
    }
    let (mine, others) = (work(self), work(other))
    return Set(mine.keys).union(others.keys).filter { mine[$0] != others[$0] }.sorted()
  }

  public var isEmpty: Bool { changes.allSatisfy { $0.action == .none } }

  public func count(_ action: PlannedChange.Action) -> Int { changes.count { $0.action == action } }

  /// Whether anything would be done.
  public var hasWork: Bool { changes.contains(where: \.isWork) }
}
