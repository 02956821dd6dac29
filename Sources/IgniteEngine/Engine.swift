internal import FoundationEssentials
public import IgniteAPI
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

/// The operations on VMs, images and kernels. Commands, and later the API, are doors to these.
public struct Engine: Sendable {
  public let paths: Paths
  public let configuration: EngineConfiguration
  public let environment: [String: String]
  /// What runs the machines of VMs that this engine starts.
  public let driver: Driver
  let store: ObjectStore
  /// The connections to registries; none is opened before it is needed.
  let registries: RegistryClient

  /// Opens the state below `paths`, making what is absent.
  public static func open(
    paths: Paths, configuration: EngineConfiguration, environment: [String: String]
  ) async throws -> Engine {
    let driver = try Driver(environment: environment)
    try paths.prepare()
    return Engine(
      paths: paths, configuration: configuration, environment: environment, driver: driver,
      store: try await ObjectStore.open(root: paths.data))
  }

  private init(
    paths: Paths, configuration: EngineConfiguration, environment: [String: String], driver: Driver, store: ObjectStore
  ) {
    self.paths = paths
    self.configuration = configuration
    self.environment = environment
    self.driver = driver
    self.store = store
    registries = configuration.client(environment: environment)
  }

  /// The same state under another configuration; what is under way goes on with the one that it began with.
  public func configured(as configuration: EngineConfiguration) -> Engine {
    Engine(paths: paths, configuration: configuration, environment: environment, driver: driver, store: store)
  }

  /// Says something to the user beside an operation's result; on standard error, once.
  public typealias Notify = @Sendable (String) -> Void

  // MARK: VMs as objects

  /// The VM of that exact name, or of that UID or a prefix of it.
  public func vm(_ query: String) async throws -> VM {
    let object = try await object(query)
    return try await refreshed(try Self.vm(of: object), object: object)
  }

  func object(_ query: String) async throws -> StoredObject {
    if let object = try await store.get(kind: VM.kind, namespace: "default", name: query) { return object }
    let found = try await store.find(kind: VM.kind, uidPrefix: query)
    guard let first = found.first else {
      throw EngineError(.notFound, "no VM has the name or UID \"\(query)\"", advice: "list them with `ignite ps -a`")
    }
    guard found.count == 1 else {
      throw EngineError(
        .ambiguous, "\"\(query)\" begins the UIDs of several VMs, \(found[0].uid) and \(found[1].uid) among them",
        advice: "give more digits")
    }
    return first
  }

  /// All VMs, oldest first, with their state as it is now.
  /// - Parameter fields: what they have to have, of metadata and spec: a status is known once it was looked at.
  public func vms(_ fields: [FieldSelector.Requirement] = []) async throws -> [VM] {
    var vms: [VM] = []
    for object in try await store.list(kind: VM.kind, fields: fields) {
      let vm = try await refreshed(try Self.vm(of: object), object: object)
      if try await takeAwayIfDue(vm) { continue }
      vms.append(vm)
    }
    return vms
  }

  static func vm(of object: StoredObject) throws -> VM {
    let decoder = APICoding.decoder()
    do {
      return VM(
        metadata: ObjectMeta(object),
        spec: try decoder.decode(VMSpec.self, from: object.spec),
        status: try decoder.decode(VMStatus.self, from: object.status))
    } catch {
      throw EngineError(
        .unavailable, "the record of VM \"\(object.name)\" cannot be read", advice: "was it written by a newer ignite?",
        cause: error)
    }
  }

  /// Writes the VM over the version that it was read at, and returns it as it is now.
  func write(_ vm: VM) async throws -> VM {
    var object = StoredObject(
      kind: VM.kind, namespace: vm.metadata.namespace ?? "default", name: vm.metadata.name, uid: vm.metadata.uid,
      created: vm.metadata.creationTimestamp, labels: vm.metadata.labels ?? [:],
      annotations: vm.metadata.annotations ?? [:], spec: try Self.encode(vm.spec), status: try Self.encode(vm.status))
    object.resourceVersion = Int64(vm.metadata.resourceVersion) ?? 0
    object.owners = vm.metadata.ownerReferences ?? []
    object.finalizers = vm.metadata.finalizers ?? []
    return try Self.vm(of: try await store.update(object))
  }

  /// Writes the status of an object that belongs to the host, which is made where it is absent; the last writer wins.
  func put(kind: String, name: String, status: Data) async throws {
    for _ in 0..<8 {
      do {
        if var object = try await store.get(kind: kind, namespace: "", name: name) {
          object.status = status
          try await store.update(object)
        } else {
          try await store.create(
            StoredObject(
              kind: kind, namespace: "", name: name, uid: ObjectName.makeUID(), created: Date(), spec: Data("{}".utf8),
              status: status))
        }
        return
      } catch let error as StoreError where error.code == .conflict || error.code == .alreadyExists {
        continue
      }
    }
    throw EngineError(
      .unavailable, "the record of the \(kind.lowercased()) \(name) is being changed by other commands",
      advice: "try again")
  }

  static func encode<Value: Encodable>(_ value: Value) throws -> Data {
    let encoder = APICoding.encoder()
    // The store tells a changed spec by its bytes.
    encoder.outputFormatting.insert(.sortedKeys)
    return try encoder.encode(value)
  }
}

extension ObjectMeta {
  init(_ object: StoredObject) {
    self.init(
      name: object.name, namespace: object.namespace.isEmpty ? nil : object.namespace,
      labels: object.labels.isEmpty ? nil : object.labels)
    uid = object.uid
    generation = object.generation
    resourceVersion = String(object.resourceVersion)
    creationTimestamp = object.created
    annotations = object.annotations.isEmpty ? nil : object.annotations
    ownerReferences = object.owners.isEmpty ? nil : object.owners
    finalizers = object.finalizers.isEmpty ? nil : object.finalizers
    deletionTimestamp = object.deleted
  }
}
