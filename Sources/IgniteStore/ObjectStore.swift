internal import FoundationEssentials
internal import GRDB
internal import Glibc
public import IgniteAPI
internal import IgniteSystem

/// The SQLite object store, `ignite.db`: versioned objects under optimistic concurrency.
///
/// SQLite runs on a thread of its own. Many processes may have the database open: WAL, a busy timeout of 60 s,
/// BEGIN IMMEDIATE for every write, synchronous FULL. After each commit `ignite.db.rev` is touched for watchers.
public actor ObjectStore {
  private let executor: ThreadExecutor
  private let database: DatabaseQueue
  let revisionPath: String
  private let reserve: SpaceReserve
  /// What is read is a copy, of a file that cannot be written to.
  private let copied: String?

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// Opens `<root>/ignite.db`, makes it where it is absent and brings it to the current schema.
  public static func open(root: String) async throws -> ObjectStore {
    let executor = ThreadExecutor(name: "ignite-store")
    let reserve = SpaceReserve(path: root + "/ignite.db.reserve")
    let path = root + "/ignite.db"
    let (database, isCopy) = try await ThreadExecutor.run(name: "ignite-open") { () throws -> (DatabaseQueue, Bool) in
      reserve.hold()
      do {
        return (try openDatabase(path: path), false)
      } catch is CopyNeeded {
        return (try openCopy(of: path), true)
      } catch {
        guard reserve.release() else { throw error }
        return (try openDatabase(path: path), false)
      }
    }
    return ObjectStore(
      executor: executor, database: database, revisionPath: root + "/ignite.db.rev", reserve: reserve,
      copied: isCopy ? path : nil)
  }

  private init(
    executor: ThreadExecutor, database: DatabaseQueue, revisionPath: String, reserve: SpaceReserve, copied: String?
  ) {
    self.copied = copied
    self.executor = executor
    self.reserve = reserve
    self.database = database
    self.revisionPath = revisionPath
  }

  /// Reads all of it.
  /// - Throws: StoreError `damaged`, where a page is not what it should be.
  public func check() throws {
    let found = try translating {
      try database.read { db in try String.fetchOne(db, sql: "PRAGMA integrity_check(1)") ?? "nothing is read" }
    }
    guard found == "ok" else { throw StoreError.damaged(database.path, found, cause: nil) }
  }

  /// Closes the database: the last one to do so takes away the files that are there only while it is open. Nothing can be
  /// read or written afterwards.
  public func close() throws { try translating { try database.close() } }

  // MARK: Reading

  public func get(kind: String, namespace: String, name: String) throws -> StoredObject? {
    try read { db in
      try Row.fetchOne(
        db, sql: "SELECT * FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
        arguments: [kind, namespace, name]
      ).map(StoredObject.init(row:))
    }
  }

  /// Objects of the kind whose UID begins with `prefix`, at most two: one is a hit, two are ambiguous.
  public func find(kind: String, uidPrefix prefix: String) throws -> [StoredObject] {
    guard !prefix.isEmpty, prefix.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
      return []
    }
    return try read { db in
      try Row.fetchAll(
        db, sql: "SELECT * FROM objects WHERE kind = ? AND uid >= ? AND uid < ? LIMIT 2",
        arguments: [kind, prefix, prefix + "g"]
      ).map(StoredObject.init(row:))
    }
  }

  /// All objects of the kind, by time of creation.
  /// - Parameter fields: what they have to have.
  public func list(kind: String, fields: [FieldSelector.Requirement] = []) throws -> [StoredObject] {
    let (condition, more) = try Self.condition(fields)
    return try read { db in
      try Row.fetchAll(
        db, sql: "SELECT * FROM objects WHERE kind = ?\(condition) ORDER BY created, rowid", arguments: [kind] + more
      ).map(StoredObject.init(row:))
    }
  }

  /// An object's versions.
  public struct Versions: Sendable, Equatable {
    public var uid: String
    /// Of the last write.
    public var current: Int64
    /// Of the last write that changed more than the status: name, labels, annotations, owners or spec.
    public var declared: Int64
  }

  /// nil where there is none of that name.
  public func versions(kind: String, namespace: String, name: String) throws -> Versions? {
    try read { db in
      try Row.fetchOne(
        db,
        sql: """
          SELECT uid, resourceVersion, declaredVersion FROM objects WHERE kind = ? AND namespace = ? AND name = ?
          """, arguments: [kind, namespace, name]
      ).map { Versions(uid: $0[0], current: $0[1], declared: $0[2]) }
    }
  }

  // MARK: Writing

  /// Adds an object; a name or UID that is taken is `alreadyExists`.
  @discardableResult
  public func create(_ object: StoredObject) throws -> StoredObject {
    try write { db in
      var object = object
      let taken = try Bool.fetchOne(
        db, sql: "SELECT EXISTS (SELECT 1 FROM objects WHERE kind = ? AND namespace = ? AND name = ?)",
        arguments: [object.kind, object.namespace, object.name])
      if taken == true {
        throw StoreError(.alreadyExists, "\(object.kind) \"\(object.name)\" already exists")
      }
      object.resourceVersion = try Self.nextVersion(db)
      try db.execute(
        sql: """
          INSERT INTO objects (kind, namespace, name, uid, generation, resourceVersion, createdVersion, declaredVersion,
            created, labels, annotations, owners, finalizers, spec, status)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          object.kind, object.namespace, object.name, object.uid, object.generation, object.resourceVersion,
          object.resourceVersion, object.resourceVersion, object.created.timeIntervalSince1970,
          try Self.json(object.labels),
          try Self.json(object.annotations), try Self.json(object.owners), try Self.json(object.finalizers),
          object.spec, object.status,
        ])
      return object
    }
  }

  /// Writes spec, status, labels, annotations, owners and finalizers over the version that was read; the generation moves
  /// with the spec. One that is to go, and has no finalizer any more, goes with it.
  ///
  /// - Throws: StoreError `conflict` where somebody wrote in between, `notFound` where the object is gone, `invalid` where
  ///   it would be its own owner.
  @discardableResult
  public func update(_ object: StoredObject) throws -> StoredObject {
    try write { db in
      var object = object
      guard let row = try Row.fetchOne(db, sql: "SELECT * FROM objects WHERE uid = ?", arguments: [object.uid])
      else { throw StoreError(.notFound, "\(object.kind) \"\(object.name)\" is gone") }
      let old = StoredObject(row: row)
      guard old.resourceVersion == object.resourceVersion else {
        throw StoreError(.conflict, "\(object.kind) \"\(object.name)\" was changed by another command")
      }
      let namesake = try Int.fetchOne(
        db, sql: "SELECT 1 FROM objects WHERE kind = ? AND namespace = ? AND name = ? AND uid <> ?",
        arguments: [object.kind, object.namespace, object.name, object.uid])
      if namesake != nil { throw StoreError(.alreadyExists, "\(object.kind) \"\(object.name)\" already exists") }
      try Self.checkOwners(of: object, db)
      object.deleted = old.deleted
      if old.deleted != nil, object.finalizers.isEmpty {
        object.resourceVersion = try Self.bury(uid: object.uid, db) ?? object.resourceVersion
        return object
      }
      object.generation = old.spec == object.spec ? old.generation : old.generation + 1
      object.resourceVersion = try Self.nextVersion(db)
      let declared: Int64 = object.isDeclared(as: old) ? row["declaredVersion"] : object.resourceVersion
      try db.execute(
        sql: """
          UPDATE objects SET name = ?, generation = ?, resourceVersion = ?, declaredVersion = ?, labels = ?,
            annotations = ?, owners = ?, finalizers = ?, spec = ?, status = ? WHERE uid = ?
          """,
        arguments: [
          object.name, object.generation, object.resourceVersion, declared, try Self.json(object.labels),
          try Self.json(object.annotations), try Self.json(object.owners), try Self.json(object.finalizers),
          object.spec, object.status, object.uid,
        ])
      return object
    }
  }

  /// Removes the object and what it had allocated, whatever finalizers it has; whether it was there.
  @discardableResult
  public func delete(uid: String) throws -> Bool {
    try write { db in try Self.bury(uid: uid, db) != nil }
  }

  // MARK: Numbers

  /// Gives the owner the lowest free number of a pool, or the one it has; numbers go with the object.
  public func allocate(pool: String, owner: String, range: ClosedRange<Int64>) throws -> Int64 {
    try write { db in
      if let mine = try Int64.fetchOne(
        db, sql: "SELECT number FROM allocations WHERE pool = ? AND owner = ?", arguments: [pool, owner])
      {
        return mine
      }
      let free = try Int64.fetchOne(
        db,
        sql: """
          SELECT candidate FROM (
            SELECT ? AS candidate UNION ALL SELECT number + 1 FROM allocations WHERE pool = ? AND number >= ?)
          WHERE candidate NOT IN (SELECT number FROM allocations WHERE pool = ?) ORDER BY candidate LIMIT 1
          """, arguments: [range.lowerBound, pool, range.lowerBound, pool])
      guard let free, range.contains(free) else {
        throw StoreError(
          .unavailable, "no free number is left in the pool \"\(pool)\"", advice: "remove VMs that are not needed")
      }
      try db.execute(
        sql: "INSERT INTO allocations (pool, number, owner) VALUES (?, ?, ?)", arguments: [pool, free, owner])
      return free
    }
  }

  /// Who has numbers of a pool.
  public func owners(pool: String) throws -> [String] {
    try read { db in
      try String.fetchAll(db, sql: "SELECT owner FROM allocations WHERE pool = ? ORDER BY number", arguments: [pool])
    }
  }

  /// Gives back a number that no object's end gives back.
  public func release(pool: String, owner: String) throws {
    try write { db in
      try db.execute(sql: "DELETE FROM allocations WHERE pool = ? AND owner = ?", arguments: [pool, owner])
    }
  }

  // MARK: Settings

  /// A host-wide setting, as the default kernel's name.
  public func setting(_ key: String) throws -> String? {
    try read { db in try String.fetchOne(db, sql: "SELECT value FROM settings WHERE key = ?", arguments: [key]) }
  }

  public func setSetting(_ key: String, _ value: String?) throws {
    try write { db in
      guard let value else {
        try db.execute(sql: "DELETE FROM settings WHERE key = ?", arguments: [key])
        return
      }
      try db.execute(
        sql: "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        arguments: [key, value])
    }
  }

  // MARK: Private

  static func nextVersion(_ db: Database) throws -> Int64 {
    try db.execute(sql: "UPDATE revision SET value = value + 1")
    return try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0
  }

  static func json(_ map: [String: String]) throws -> String {
    map.isEmpty ? "{}" : String(decoding: try JSONEncoder().encode(map), as: UTF8.self)
  }

  static func json<Element: Encodable>(_ list: [Element]) throws -> String {
    list.isEmpty ? "[]" : String(decoding: try JSONEncoder().encode(list), as: UTF8.self)
  }

  private static func readOnly(_ path: String, cause: (any Error)? = nil) -> StoreError {
    StoreError(
      .readOnly, "the database \(path) cannot be written to: it is read-only, or on a read-only file system",
      advice: "mount it for writing, and look at its health: dmesg", cause: cause)
  }

  func read<Result>(_ body: (Database) throws -> Result) throws -> Result {
    try translating { try database.read(body) }
  }

  func write<Result>(_ body: (Database) throws -> Result) throws -> Result {
    if let copied { throw Self.readOnly(copied) }
    let result: Result
    do {
      result = try translating { try database.write(body) }
    } catch let error as StoreError where error.code == .noSpace {
      guard reserve.release() else { throw error }
      result = try translating { try database.write(body) }
    }
    let descriptor = Glibc.open(revisionPath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    if descriptor >= 0 {
      futimens(descriptor, nil)
      Glibc.close(descriptor)
    }
    return result
  }

  private func translating<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as StoreError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_FULL {
      throw StoreError(
        .noSpace, "the database \(database.path): no space is left on its file system",
        advice: "free some: ignite system prune", cause: error)
    } catch let error as DatabaseError where error.resultCode == .SQLITE_READONLY {
      throw Self.readOnly(database.path, cause: error)
    } catch let error as DatabaseError where [.SQLITE_NOTADB, .SQLITE_CORRUPT].contains(error.resultCode) {
      throw StoreError.damaged(database.path, error.message ?? "error \(error.resultCode.rawValue)", cause: error)
    } catch let error as DatabaseError {
      throw StoreError(
        .unavailable, "the database \(database.path): \(error.message ?? "error \(error.resultCode.rawValue)")",
        advice: "look at the disk's space and health", cause: error)
    }
  }
}

extension StoredObject {
  init(row: Row) {
    let labels: String = row["labels"]
    let annotations: String = row["annotations"]
    self.init(
      kind: row["kind"], namespace: row["namespace"], name: row["name"], uid: row["uid"],
      created: Date(timeIntervalSince1970: row["created"]), labels: Self.map(labels),
      annotations: Self.map(annotations),
      spec: row["spec"], status: row["status"])
    generation = row["generation"]
    resourceVersion = row["resourceVersion"]
    let owners: String = row["owners"]
    let finalizers: String = row["finalizers"]
    let deleted: Double? = row["deleted"]
    self.owners = Self.list(owners)
    self.finalizers = Self.list(finalizers)
    self.deleted = deleted.map(Date.init(timeIntervalSince1970:))
  }

  static func list<Element: Decodable>(_ json: String) -> [Element] {
    json == "[]" ? [] : (try? JSONDecoder().decode([Element].self, from: Data(json.utf8))) ?? []
  }

  static func map(_ json: String) -> [String: String] {
    json == "{}" ? [:] : (try? JSONDecoder().decode([String: String].self, from: Data(json.utf8))) ?? [:]
  }
}
