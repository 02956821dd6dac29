internal import FoundationEssentials
internal import GRDB
internal import Glibc
internal import IgniteSystem

/// The SQLite object store, `ignite.db`: versioned objects under optimistic concurrency.
///
/// SQLite runs on a thread of its own. Many processes may have the database open: WAL, a busy timeout of 60 s,
/// BEGIN IMMEDIATE for every write, synchronous FULL. After each commit `ignite.db.rev` is touched for watchers.
public actor ObjectStore {
  private let executor: ThreadExecutor
  private let database: DatabaseQueue
  private let revisionPath: String
  private let reserve: SpaceReserve

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// Opens `<root>/ignite.db`, makes it where it is absent and brings it to the current schema.
  public static func open(root: String) async throws -> ObjectStore {
    let executor = ThreadExecutor(name: "ignite-store")
    let reserve = SpaceReserve(path: root + "/ignite.db.reserve")
    let database = try await ThreadExecutor.run(name: "ignite-open") { () throws -> DatabaseQueue in
      reserve.hold()
      do {
        return try openDatabase(path: root + "/ignite.db")
      } catch {
        guard reserve.release() else { throw error }
        return try openDatabase(path: root + "/ignite.db")
      }
    }
    return ObjectStore(
      executor: executor, database: database, revisionPath: root + "/ignite.db.rev", reserve: reserve)
  }

  private init(executor: ThreadExecutor, database: DatabaseQueue, revisionPath: String, reserve: SpaceReserve) {
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
  public func list(kind: String) throws -> [StoredObject] {
    try read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM objects WHERE kind = ? ORDER BY created, rowid", arguments: [kind])
        .map(StoredObject.init(row:))
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
          INSERT INTO objects (kind, namespace, name, uid, generation, resourceVersion, created, labels, annotations,
            spec, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          object.kind, object.namespace, object.name, object.uid, object.generation, object.resourceVersion,
          object.created.timeIntervalSince1970, try Self.json(object.labels), try Self.json(object.annotations),
          object.spec, object.status,
        ])
      return object
    }
  }

  /// Writes spec, status, labels and annotations over the version that was read; the generation moves with the spec.
  ///
  /// - Throws: StoreError `conflict` where somebody wrote in between, `notFound` where the object is gone.
  @discardableResult
  public func update(_ object: StoredObject) throws -> StoredObject {
    try write { db in
      var object = object
      guard
        let row = try Row.fetchOne(
          db, sql: "SELECT resourceVersion, generation, spec FROM objects WHERE uid = ?", arguments: [object.uid])
      else { throw StoreError(.notFound, "\(object.kind) \"\(object.name)\" is gone") }
      let version: Int64 = row["resourceVersion"]
      guard version == object.resourceVersion else {
        throw StoreError(.conflict, "\(object.kind) \"\(object.name)\" was changed by another command")
      }
      let namesake = try Int.fetchOne(
        db, sql: "SELECT 1 FROM objects WHERE kind = ? AND namespace = ? AND name = ? AND uid <> ?",
        arguments: [object.kind, object.namespace, object.name, object.uid])
      if namesake != nil { throw StoreError(.alreadyExists, "\(object.kind) \"\(object.name)\" already exists") }
      let generation: Int64 = row["generation"]
      let spec: Data = row["spec"]
      object.generation = spec == object.spec ? generation : generation + 1
      object.resourceVersion = try Self.nextVersion(db)
      try db.execute(
        sql: """
          UPDATE objects SET name = ?, generation = ?, resourceVersion = ?, labels = ?, annotations = ?, spec = ?,
            status = ? WHERE uid = ?
          """,
        arguments: [
          object.name, object.generation, object.resourceVersion, try Self.json(object.labels),
          try Self.json(object.annotations), object.spec, object.status, object.uid,
        ])
      return object
    }
  }

  /// Removes the object and what it had allocated; whether it was there.
  @discardableResult
  public func delete(uid: String) throws -> Bool {
    try write { db in
      try db.execute(sql: "DELETE FROM allocations WHERE owner = ?", arguments: [uid])
      try db.execute(sql: "DELETE FROM objects WHERE uid = ?", arguments: [uid])
      let removed = db.changesCount > 0
      _ = try Self.nextVersion(db)
      return removed
    }
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

  private static func nextVersion(_ db: Database) throws -> Int64 {
    try db.execute(sql: "UPDATE revision SET value = value + 1")
    return try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0
  }

  private static func json(_ map: [String: String]) throws -> String {
    map.isEmpty ? "{}" : String(decoding: try JSONEncoder().encode(map), as: UTF8.self)
  }

  private func read<Result>(_ body: (Database) throws -> Result) throws -> Result {
    try translating { try database.read(body) }
  }

  private func write<Result>(_ body: (Database) throws -> Result) throws -> Result {
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
  fileprivate init(row: Row) {
    let labels: String = row["labels"]
    let annotations: String = row["annotations"]
    self.init(
      kind: row["kind"], namespace: row["namespace"], name: row["name"], uid: row["uid"],
      created: Date(timeIntervalSince1970: row["created"]), labels: Self.map(labels),
      annotations: Self.map(annotations),
      spec: row["spec"], status: row["status"])
    generation = row["generation"]
    resourceVersion = row["resourceVersion"]
  }

  private static func map(_ json: String) -> [String: String] {
    json == "{}" ? [:] : (try? JSONDecoder().decode([String: String].self, from: Data(json.utf8))) ?? [:]
  }
}
