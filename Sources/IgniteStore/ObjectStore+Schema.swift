internal import FoundationEssentials
internal import GRDB
internal import Glibc
internal import IgniteSystem

/// The schema and its migrations: every version of the database that was ever released stays here.
func openDatabase(path: String) throws -> DatabaseQueue {
  var configuration = GRDB.Configuration()
  configuration.busyMode = .timeout(60)
  configuration.label = "ignite"
  configuration.prepareDatabase { db in
    try db.execute(sql: "PRAGMA journal_mode = WAL")
    try db.execute(sql: "PRAGMA synchronous = FULL")
  }
  do {
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try migrate(queue)
    return queue
  } catch let error as DatabaseError where error.resultCode == .SQLITE_CANTOPEN && isOnReadOnlyFileSystem(path) {
    throw CopyNeeded()
  } catch let error as DatabaseError where [.SQLITE_NOTADB, .SQLITE_CORRUPT].contains(error.resultCode) {
    throw StoreError.damaged(path, error.message ?? "error \(error.resultCode.rawValue)", cause: error)
  } catch let error as DatabaseError {
    throw StoreError(
      .unavailable, "the database \(path) cannot be opened: \(error.message ?? "error \(error.resultCode.rawValue)")",
      advice: "check the directory's owner and the disk's space", cause: error)
  }
}

/// Thrown by `openDatabase` where the file can be read by no other way than `openCopy`.
struct CopyNeeded: Error {}

private func isOnReadOnlyFileSystem(_ path: String) -> Bool {
  access(path, F_OK) == 0 && access(path, W_OK) != 0 && errno == EROFS
}

/// The database as it is, in memory: where no index of its log can be made beside it, SQLite reads it
/// no other way (https://sqlite.org/wal.html, "Read-Only Databases").
func openCopy(of path: String) throws -> DatabaseQueue {
  do {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ignite-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: path + suffix) {
      try FileManager.default.copyItem(atPath: path + suffix, toPath: folder + "/ignite.db" + suffix)
    }
    let copy = try DatabaseQueue(path: folder + "/ignite.db")
    var configuration = GRDB.Configuration()
    configuration.label = "ignite"
    let queue = try DatabaseQueue(configuration: configuration)
    try copy.backup(to: queue)
    return queue
  } catch {
    throw StoreError(
      .readOnly, "the database \(path) cannot be read: it is on a read-only file system, and no copy of it can be made",
      advice: "mount it for writing, and look at its health: dmesg", cause: error)
  }
}

/// The number of the newest migration; kept as SQLite's `user_version`, which costs one page to read.
private let schemaVersion = 3

private func migrate(_ queue: DatabaseQueue) throws {
  let version = try queue.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0 }
  if version == schemaVersion { return }
  guard version < schemaVersion else {
    throw StoreError(
      .unavailable, "the database \(queue.path) is of version \(version), and this program knows \(schemaVersion)",
      advice: "use the newer ignite that wrote it")
  }
  if version == 0 { try checkIsNew(queue.path) }
  try queue.write { db in
    // Another process may have been first.
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    if version < 1 { try createFirstVersion(db) }
    if version < 2 { try addOwners(db) }
    if version < 3 { try addDeclaredVersion(db) }
    try db.execute(sql: "PRAGMA user_version = \(schemaVersion)")
  }
}

/// A database is made where none was: beside VMs of one that has been lost it would make leftovers of them.
private func checkIsNew(_ path: String) throws {
  let root = path.split(separator: "/").dropLast().map { "/" + $0 }.joined()
  let count = ["vms", "volumes"].reduce(0) { count, name in
    count + ((try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(name)"))?.count ?? 0)
  }
  guard count > 0 else { return }
  throw StoreError(
    .damaged, "the database \(path) is gone or empty, and \(root) has files of \(count) VMs and volumes",
    advice: "put a copy of it back, or have all of it kept aside and begin anew: ignite doctor --fix")
}

private func createFirstVersion(_ db: Database) throws {
  try db.execute(
    sql: """
      CREATE TABLE objects (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
        generation INTEGER NOT NULL, resourceVersion INTEGER NOT NULL, created REAL NOT NULL,
        labels TEXT NOT NULL, annotations TEXT NOT NULL, spec BLOB NOT NULL, status BLOB NOT NULL,
        UNIQUE (kind, namespace, name));
      CREATE INDEX objects_by_uid ON objects (kind, uid);
      CREATE TABLE allocations (
        pool TEXT NOT NULL, number INTEGER NOT NULL, owner TEXT NOT NULL, UNIQUE (pool, number), UNIQUE (pool, owner));
      CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
      CREATE TABLE revision (value INTEGER NOT NULL);
      INSERT INTO revision VALUES (0);
      """)
}

/// Owners, finalizers, deletion that waits for them, and what watchers need: when an object came, and what has gone.
private func addOwners(_ db: Database) throws {
  try db.execute(
    sql: """
      ALTER TABLE objects ADD COLUMN owners TEXT NOT NULL DEFAULT '[]';
      ALTER TABLE objects ADD COLUMN finalizers TEXT NOT NULL DEFAULT '[]';
      ALTER TABLE objects ADD COLUMN deleted REAL;
      ALTER TABLE objects ADD COLUMN createdVersion INTEGER NOT NULL DEFAULT 0;
      CREATE INDEX objects_by_version ON objects (resourceVersion);
      CREATE INDEX objects_owned ON objects (uid) WHERE owners <> '[]';
      CREATE TABLE tombstones (
        resourceVersion INTEGER PRIMARY KEY, createdVersion INTEGER NOT NULL, kind TEXT NOT NULL,
        namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, generation INTEGER NOT NULL,
        created REAL NOT NULL, labels TEXT NOT NULL, annotations TEXT NOT NULL, spec BLOB NOT NULL, status BLOB NOT NULL,
        owners TEXT NOT NULL, finalizers TEXT NOT NULL, deleted REAL);
      CREATE TABLE compaction (value INTEGER NOT NULL);
      INSERT INTO compaction SELECT value FROM revision;
      """)
}

/// When an object was last changed by who declares it; of what is there already at its last write at the latest.
private func addDeclaredVersion(_ db: Database) throws {
  try db.execute(
    sql: """
      ALTER TABLE objects ADD COLUMN declaredVersion INTEGER NOT NULL DEFAULT 0;
      UPDATE objects SET declaredVersion = resourceVersion;
      """)
}
