public import FoundationEssentials
internal import GRDB
internal import IgniteAPI

/// How objects go: marked first, and held by their finalizers; remembered for watchers; after their owners.
extension ObjectStore {
  /// So many removals are remembered for watchers.
  static let mostTombstones = 10_000

  /// Marks the object to go; one without finalizers goes at once.
  /// - Parameter finalizer: one that it gets first, where it lacks it.
  /// - Returns: the object as it is now; nil where it is gone.
  public func markDeleted(uid: String, at time: Date, finalizer: String? = nil) throws -> StoredObject? {
    try write { db in
      guard let row = try Row.fetchOne(db, sql: "SELECT * FROM objects WHERE uid = ?", arguments: [uid]) else {
        return nil
      }
      var object = StoredObject(row: row)
      if let finalizer, !object.finalizers.contains(finalizer) { object.finalizers.append(finalizer) }
      if object.finalizers.isEmpty {
        _ = try Self.bury(uid: uid, db)
        return nil
      }
      guard object.deleted == nil else { return object }
      object.deleted = time
      object.resourceVersion = try Self.nextVersion(db)
      try db.execute(
        sql: "UPDATE objects SET deleted = ?, finalizers = ?, resourceVersion = ? WHERE uid = ?",
        arguments: [
          time.timeIntervalSince1970, try Self.json(object.finalizers), object.resourceVersion, uid,
        ])
      return object
    }
  }

  /// The objects that belong to that one.
  public func dependents(of uid: String) throws -> [StoredObject] {
    try read { db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT * FROM objects WHERE owners <> '[]' AND EXISTS (
            SELECT 1 FROM json_each(objects.owners) WHERE json_extract(value, '$.uid') = ?) ORDER BY created, rowid
          """, arguments: [uid]
      ).map(StoredObject.init(row:))
    }
  }

  /// The objects whose owners are all gone.
  public func orphans() throws -> [StoredObject] {
    try read { db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT * FROM objects WHERE owners <> '[]' AND NOT EXISTS (
            SELECT 1 FROM json_each(objects.owners) JOIN objects AS other ON other.uid = json_extract(value, '$.uid'))
          ORDER BY created, rowid
          """
      ).map(StoredObject.init(row:))
    }
  }

  /// Takes the object out, and remembers that for watchers.
  /// - Returns: the version of its end; nil where it was not there.
  static func bury(uid: String, _ db: Database) throws -> Int64? {
    try db.execute(sql: "DELETE FROM allocations WHERE owner = ?", arguments: [uid])
    let version = try nextVersion(db)
    try db.execute(
      sql: """
        INSERT INTO tombstones SELECT ?, createdVersion, kind, namespace, name, uid, generation, created, labels,
          annotations, spec, status, owners, finalizers, deleted FROM objects WHERE uid = ?
        """, arguments: [version, uid])
    guard db.changesCount > 0 else { return nil }
    try db.execute(sql: "DELETE FROM objects WHERE uid = ?", arguments: [uid])
    let oldest = try Int64.fetchOne(
      db, sql: "SELECT resourceVersion FROM tombstones ORDER BY resourceVersion DESC LIMIT 1 OFFSET ?",
      arguments: [mostTombstones])
    if let oldest {
      try db.execute(sql: "DELETE FROM tombstones WHERE resourceVersion <= ?", arguments: [oldest])
      try db.execute(sql: "UPDATE compaction SET value = ?", arguments: [oldest])
    }
    return version
  }

  /// No object may belong to itself, over however many others.
  static func checkOwners(of object: StoredObject, _ db: Database) throws {
    var (seen, next) = (Set<String>(), object.owners.map(\.uid))
    while let uid = next.popLast() {
      guard uid != object.uid else {
        throw StoreError(.invalid, "\(object.kind) \"\(object.name)\" would belong to itself")
      }
      guard seen.insert(uid).inserted, seen.count <= 1000,
        let owners = try String.fetchOne(
          db, sql: "SELECT owners FROM objects WHERE uid = ? AND owners <> '[]'", arguments: [uid])
      else { continue }
      let references: [ObjectReference] = StoredObject.list(owners)
      next += references.map(\.uid)
    }
  }
}
