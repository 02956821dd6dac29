public import FoundationEssentials
internal import GRDB
public import IgniteAPI

/// An object's identity, and some values of its spec and status.
public struct ObjectColumns: Sendable {
  public var name: String
  public var uid: String
  public var created: Date
  public var labels: [String: String]
  /// Its removal has begun.
  public var isDeleted: Bool
  /// In the order in which they were asked for; nil is none.
  public var values: [String?]
}

extension ObjectStore {
  /// Values of all objects of a kind, without reading the objects: for lists.
  /// - Parameters:
  ///   - spec: paths of SQLite's JSON functions, as `$.state`.
  ///   - status: the same.
  ///   - fields: what the objects have to have.
  /// - Returns: by time of creation; the values of `spec`, then those of `status`.
  public func columns(
    kind: String, spec: [String], status: [String], fields: [FieldSelector.Requirement] = []
  ) throws -> [ObjectColumns] {
    let (condition, more) = try Self.condition(fields)
    // What is sorted are these values, not the objects: those would not fit into memory that SQLite sorts in.
    let columns =
      spec.map { _ in "json_extract(CAST(spec AS TEXT), ?)" }
      + status.map { _ in "json_extract(CAST(status AS TEXT), ?)" }
    var arguments = StatementArguments(spec + status)
    arguments += [kind] + more
    let sql = """
      SELECT name, uid, created, labels, deleted IS NOT NULL, \(columns.joined(separator: ", ")) FROM objects
      WHERE kind = ?\(condition) ORDER BY created, rowid
      """
    return try read { db in
      let rows = try Row.fetchCursor(db, sql: sql, arguments: arguments)
      var found: [ObjectColumns] = []
      while let row = try rows.next() {
        let labels: String = row[3]
        found.append(
          ObjectColumns(
            name: row[0], uid: row[1], created: Date(timeIntervalSince1970: row[2]), labels: StoredObject.map(labels),
            isDeleted: row[4],
            values: (5..<5 + columns.count).map { index in
              let value: DatabaseValue = row[index]
              return String.fromDatabaseValue(value) ?? Int64.fromDatabaseValue(value).map { String($0) }
            }))
      }
      return found
    }
  }
}
