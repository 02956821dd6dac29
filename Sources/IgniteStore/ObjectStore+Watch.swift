internal import GRDB
internal import Glibc
internal import IgniteSystem

/// What has happened to an object.
public struct ObjectChange: Sendable, Equatable {
  public enum Kind: String, Sendable {
    case added, modified, deleted
    /// Nothing: all that happened before this version has been told.
    case bookmark
  }

  public var kind: Kind
  /// As it is by now; of one that is deleted, as it was. nil for a bookmark.
  public var object: StoredObject?
  public var resourceVersion: Int64
}

extension ObjectStore {
  /// The version of the latest write.
  public func revision() throws -> Int64 {
    try read { db in try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0 }
  }

  /// What has happened after that version, oldest first, a bookmark last; several writes of one object are one change.
  /// - Parameter kind: of the objects; nil is all.
  /// - Throws: StoreError `expired` where removals after that version have been forgotten, or it is none of this store's.
  public func changes(kind: String?, after version: Int64) throws -> [ObjectChange] {
    try read { db in
      let revision = try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0
      let compacted = try Int64.fetchOne(db, sql: "SELECT value FROM compaction") ?? 0
      guard version >= compacted, version <= revision else {
        throw StoreError(
          .expired, "what happened after version \(version) is not known any more", advice: "list the objects anew")
      }
      if version == revision { return [] }
      let arguments: StatementArguments = [version, kind, kind]
      func rows(_ table: String, where condition: String = "TRUE") throws -> [Row] {
        try Row.fetchAll(
          db,
          sql: """
            SELECT * FROM \(table) WHERE resourceVersion > ? AND (? IS NULL OR kind = ?) AND \(condition)
            ORDER BY resourceVersion
            """, arguments: arguments)
      }
      var changes = try rows("objects").map { row in
        let created: Int64 = row["createdVersion"]
        return ObjectChange(
          kind: created > version ? .added : .modified, object: StoredObject(row: row),
          resourceVersion: row["resourceVersion"])
      }
      // Who was not told of one need not hear of its end.
      changes += try rows("tombstones", where: "createdVersion <= \(version)").map { row in
        ObjectChange(kind: .deleted, object: StoredObject(row: row), resourceVersion: row["resourceVersion"])
      }
      changes.sort { $0.resourceVersion < $1.resourceVersion }
      return changes + [ObjectChange(kind: .bookmark, object: nil, resourceVersion: revision)]
    }
  }
}

/// Changes of the store, of this process and others, as they come.
///
/// They are read when they are asked for, so one who does not ask costs nothing; who asks too late may get `expired`.
public final class ObjectWatcher: Sendable {
  private let store: ObjectStore
  private let kind: String?
  private let wake: RevisionWatch

  /// - Parameter kind: of the objects; nil is all.
  public init(_ store: ObjectStore, kind: String?) {
    self.store = store
    self.kind = kind
    wake = RevisionWatch(path: store.revisionPath)
  }

  /// What has happened after that version, as soon as something has; the last of them is a bookmark.
  /// - Throws: StoreError as `changes`; CancellationError.
  public func next(after version: Int64) async throws -> [ObjectChange] {
    while true {
      let changes = try await store.changes(kind: kind, after: version)
      if !changes.isEmpty { return changes }
      try Task.checkCancellation()
      let wake = wake
      await ThreadExecutor.run(name: "ignite-watch") { wake.wait() }
      try Task.checkCancellation()
    }
  }
}

/// Waits for the file that each writer touches.
private final class RevisionWatch: Sendable {
  private let descriptor: FileDescriptor?

  init(path: String) {
    let number = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    guard number >= 0 else {
      descriptor = nil
      return
    }
    let watch = FileDescriptor(number)
    // Made by the first writer.
    if let file = try? FileDescriptor.open(path, O_WRONLY | O_CREAT) { file.close() }
    descriptor = inotify_add_watch(number, path, UInt32(IN_ATTRIB | IN_CLOSE_WRITE)) >= 0 ? watch : nil
  }

  /// Until somebody has written, or for a second: the net under it. Blocking.
  func wait() {
    guard let descriptor else {
      // The user has no watch left: a look now and then has to do. This thread does nothing else.
      usleep(200_000)
      return
    }
    var entry = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 1000) > 0 else { return }
    var buffer = [UInt8](repeating: 0, count: 4096)
    while read(descriptor.number, &buffer, buffer.count) > 0 {}
  }
}
