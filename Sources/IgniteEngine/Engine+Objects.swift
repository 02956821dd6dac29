internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteStore
public import IgniteSystem

/// An object whose spec is its manifest's: an App, a VMSet, a ConfigMap, a Secret; and an image or a kernel, whose status is
/// the record of it.
public struct DeclaredObject: Codable, Sendable {
  public var apiVersion = APIVersion.current
  public var kind: String
  public var metadata: ObjectMeta
  public var spec: JSONValue
  public var status: JSONValue

  public init(kind: String, metadata: ObjectMeta, spec: JSONValue) {
    self.kind = kind
    self.metadata = metadata
    self.spec = spec
    status = .object([:])
  }

  /// `App/shop`.
  public var title: String { "\(kind)/\(metadata.name)" }

  /// What a VM's status remembers of it: another one, or another spec, has another.
  public var configVersion: String { "\(metadata.uid).\(metadata.generation)" }
}

extension Engine {
  /// All of a kind, by name.
  public func declared(kind: String) async throws -> [DeclaredObject] {
    try await store.list(kind: kind).map(DeclaredObject.init).sorted { $0.metadata.name < $1.metadata.name }
  }

  /// nil where there is none of that name.
  public func declared(kind: String, name: String) async throws -> DeclaredObject? {
    try await store.get(kind: kind, namespace: Self.namespace(of: kind), name: name).map(DeclaredObject.init)
  }

  private static func namespace(of kind: String) -> String { HostKind.all.contains(kind) ? "" : "default" }

  /// Makes the object, whose UID is the store's to give.
  /// - Throws: StoreError `alreadyExists`.
  public func create(_ object: DeclaredObject) async throws -> DeclaredObject {
    var stored = try StoredObject(object)
    stored.uid = ObjectName.makeUID()
    stored.created = Date()
    let made = try DeclaredObject(await store.create(stored))
    await note(Event(made.kind.lowercased(), "create", id: made.metadata.name))
    return made
  }

  /// Writes it over the version that was read.
  /// - Throws: StoreError `conflict`, `notFound`.
  public func update(_ object: DeclaredObject) async throws -> DeclaredObject {
    try DeclaredObject(await store.update(try StoredObject(object)))
  }

  /// Marks it to go; what has no finalizer is gone.
  /// - Returns: the object as it is now; nil where it is gone.
  public func markDeleted(uid: String) async throws -> DeclaredObject? {
    try await store.markDeleted(uid: uid, at: Date()).map(DeclaredObject.init)
  }

  /// Checks that the object of that name is declared as it was at that version; what became of its status since does not matter.
  /// - Parameter uid: the object's; nil where it is not known.
  /// - Throws: EngineError `conflict`, with the object's version by now; `notFound`.
  public func check(_ kind: String, _ name: String, uid: String?, isAsAt version: Int64, place: String) async throws {
    let title = "\(kind)/\(name)"
    guard let now = try await store.versions(kind: kind, namespace: Self.namespace(of: kind), name: name) else {
      throw EngineError(
        .notFound, "\(place): there is no \(title), whose version \(version) the manifest was read from",
        advice: "have it made: take metadata.resourceVersion out of the manifest")
    }
    guard uid == nil || uid == now.uid else {
      throw EngineError(
        .conflict, "\(place): \(title) is another one, \(now.uid), than the manifest was read from, \(uid ?? "")",
        advice: "read it again: ignite get \(kind.lowercased()) \(name) -o yaml")
    }
    guard version >= now.declared, version <= now.current else {
      throw EngineError(
        .conflict,
        "\(place): \(title) was changed since the manifest was read: its version is \(now.current), the manifest's \(version)",
        advice: "read it again: ignite get \(kind.lowercased()) \(name) -o yaml")
    }
  }

  /// The objects that belong to that one, oldest first.
  public func dependents(of uid: String) async throws -> [ObjectReference] {
    try await store.dependents(of: uid).map { ObjectReference(kind: $0.kind, name: $0.name, uid: $0.uid) }
  }

  /// The objects whose owners are gone.
  public func orphans() async throws -> [ObjectReference] {
    try await store.orphans().map { ObjectReference(kind: $0.kind, name: $0.name, uid: $0.uid) }
  }

  /// The VM of that name; nil without one, and of one that was just taken away.
  public func vm(named name: String) async throws -> VM? {
    guard let object = try await store.get(kind: VM.kind, namespace: "default", name: name) else { return nil }
    let vm = try await refreshed(try Self.vm(of: object), object: object)
    return try await takeAwayIfDue(vm) ? nil : vm
  }

  /// Whether the VM has what it starts from; one does not whose making was cut short.
  public func isWhole(_ vm: VM) -> Bool {
    let uid = vm.metadata.uid
    return access(paths.image(uid), R_OK) == 0 && LaunchPlan.size(of: paths.writableDisk(uid)) > 0
  }

  /// Notes what was found of an object, as an event; nothing fails for it.
  public func tell(_ type: String, _ action: String, id: String, _ attributes: [String: String]) async {
    await note(Event(type, action, id: id, attributes: attributes))
  }

  /// Changes of all objects, of this process and others.
  public func watch() -> ObjectWatch { ObjectWatch(store) }
}

/// Tells which objects have changed.
public struct ObjectWatch: Sendable {
  /// An object that was made, written or removed.
  public struct Change: Sendable {
    public enum Kind: String, Sendable { case added = "ADDED", modified = "MODIFIED", deleted = "DELETED" }

    public var kind: Kind
    public var object: ObjectReference
    /// As it is by now; of one that was removed, as it was.
    public var metadata: ObjectMeta
  }

  private let watcher: ObjectWatcher
  private let store: ObjectStore

  init(_ store: ObjectStore) {
    self.store = store
    watcher = ObjectWatcher(store, kind: nil)
  }

  /// Where a watch that begins now begins.
  public func version() async throws -> Int64 { try await store.revision() }

  /// What has changed after that version, as soon as something has, and the version to ask for next.
  ///
  /// nil where too much has happened since: look at everything, and begin anew.
  /// - Throws: CancellationError.
  public func next(after version: Int64) async throws -> (changes: [Change], version: Int64)? {
    do {
      let found = try await watcher.next(after: version)
      let changes = found.compactMap { change -> Change? in
        guard let object = change.object else { return nil }
        let kind: Change.Kind =
          switch change.kind {
          case .added: .added
          case .deleted: .deleted
          case .modified, .bookmark: .modified
          }
        return Change(
          kind: kind, object: ObjectReference(kind: object.kind, name: object.name, uid: object.uid),
          metadata: ObjectMeta(object))
      }
      return (changes, found.last?.resourceVersion ?? version)
    } catch let error as StoreError where error.code == .expired {
      return nil
    }
  }
}

extension DeclaredObject {
  init(_ object: StoredObject) throws {
    self.init(
      kind: object.kind, metadata: ObjectMeta(object), spec: try JSONValue.parse(Array(object.spec)))
    status = try JSONValue.parse(Array(object.status))
  }
}

extension StoredObject {
  init(_ object: DeclaredObject) throws {
    let meta = object.metadata
    self.init(
      kind: object.kind, namespace: meta.namespace ?? "default", name: meta.name, uid: meta.uid,
      created: meta.creationTimestamp, labels: meta.labels ?? [:], annotations: meta.annotations ?? [:],
      spec: try Engine.encode(object.spec), status: try Engine.encode(object.status))
    resourceVersion = Int64(meta.resourceVersion) ?? 0
    owners = meta.ownerReferences ?? []
    finalizers = meta.finalizers ?? []
  }
}
