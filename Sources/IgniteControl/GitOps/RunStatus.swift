public import FoundationEssentials
public import IgniteAPI
public import IgniteEngine
internal import IgniteSystem

/// What the statuses of sources and syncs have in common.
public protocol RunStatus: Codable, Sendable, Equatable {
  var observedGeneration: Int64 { get set }
  var conditions: [Condition] { get set }
  /// The request that was last heeded.
  var lastHandledRequest: String? { get set }

  init()
}

extension RunStatus {
  /// The object's; an empty one of an object that was not looked at yet.
  public init(_ object: DeclaredObject) {
    let decoded = try? APICoding.decoder().decode(Self.self, from: APICoding.encoder().encode(object.status))
    self = decoded ?? Self()
  }

  public func condition(_ type: String) -> Condition? { conditions.first { $0.type == type } }

  /// What went wrong last, where nothing has gone right since.
  public var failure: Condition? { condition("Stalled").flatMap { $0.status == "True" ? $0 : nil } }

  /// Ready, Reconciling and Stalled, as kstatus reads them.
  mutating func sumUp(_ word: String, reason: String, _ message: String, at time: Date) {
    for type in ["Ready", "Reconciling", "Stalled"] {
      var condition = Condition(type: type, status: type == word, reason: reason, message: message, time: time)
      if let old = self.condition(type), old.status == condition.status {
        condition.lastTransitionTime = old.lastTransitionTime
      }
      conditions.removeAll { $0.type == type }
      conditions.append(condition)
    }
  }
}

/// What a Sync has come to.
public struct SyncStatus: RunStatus {
  public struct Applied: Codable, Sendable, Equatable {
    public var revision: String
    public var time: Date
    /// The commit's first line.
    public var subject: String?
    public var author: String?
    /// How many objects it has.
    public var objects: Int
    /// `Applied`, or why not.
    public var outcome: String
  }

  static let mostHistory = 20

  public var observedGeneration: Int64 = 0
  public var conditions: [Condition] = []
  /// Titles of what it keeps.
  public var inventory: [String] = []
  public var lastAppliedRevision: String?
  /// Of the spec that it was applied by.
  public var lastAppliedGeneration: Int64?
  public var lastAttemptedRevision: String?
  public var lastAttemptTime: Date?
  /// Newest first.
  public var history: [Applied] = []
  /// Titles of what was changed by hand, each with its difference, as long as that is so.
  public var drift: [String]?
  /// The request that was last heeded.
  public var lastHandledRequest: String?

  public init() {}
}

/// What a source has come to.
public struct SourceStatus: RunStatus {
  public struct Content: Codable, Sendable, Equatable {
    public var revision: String
    public var digest: String
    public var files: Int
    public var bytes: Int
    public var subject: String?
    public var author: String?
    public var committed: Date?
    public var lastUpdateTime: Date
  }

  public var observedGeneration: Int64 = 0
  public var conditions: [Condition] = []
  public var artifact: Content?
  public var lastHandledRequest: String?

  public init() {}
}

extension Controller {
  /// Changes the status of a source or a sync, if it is still the one that was looked at.
  func write<Status: RunStatus>(
    _ looked: DeclaredObject, _ change: (inout Status) -> Void
  ) async throws {
    try await rewrite {
      try await engine.declared(kind: looked.kind, name: looked.metadata.name)
    } change: { object in
      guard object.metadata.uid == looked.metadata.uid else { return false }
      var status = Status(object)
      let before = status
      change(&status)
      status.observedGeneration = looked.metadata.generation
      status.lastHandledRequest = looked.metadata.annotations?[GitOps.requestKey]
      if status == before { return false }
      object.status = try JSONValue(encoding: status)
      return true
    }
  }
}

extension DeclaredObject {
  /// The title of the source that a sync names.
  public var sourceTitle: String? {
    guard let kind = spec["sourceRef"]?["kind"]?.string, let name = spec["sourceRef"]?["name"]?.string else {
      return nil
    }
    return "\(kind)/\(name)"
  }

  /// Of a source or a sync its status says; all else is ready once it is there.
  var readiness: Readiness {
    guard KindSchema.gitOpsKinds.contains(kind), spec["suspend"]?.bool != true else { return .ready }
    let status: any RunStatus = kind == GitOps.sync ? SyncStatus(self) : SourceStatus(self)
    guard status.observedGeneration == metadata.generation, let ready = status.condition("Ready") else {
      return .waiting("it was not looked at yet")
    }
    // A failure is tried again, and may be over then.
    return ready.status == "True" ? .ready : .waiting(ready.message)
  }
}
