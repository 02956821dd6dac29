internal import GRDB
public import IgniteAPI

/// Which objects are wanted.
public struct ListRequest: Sendable {
  public var kind: String
  /// Objects at most; the rest comes with `continuation`.
  public var limit: Int?
  /// As the page before it said.
  public var continuation: String?
  /// What their labels have to be.
  public var suits: (@Sendable ([String: String]) -> Bool)?
  /// Fields that have to have a value, as `metadata.name` or `status.phase`.
  public var fields: [FieldSelector.Requirement] = []

  public init(kind: String) { self.kind = kind }
}

/// A part of a list.
public struct ListPage: Sendable {
  public var items: [StoredObject]
  /// The store's version when it was read: where a watch goes on from.
  public var resourceVersion: Int64
  /// Where the next page begins; nil after the last.
  public var continuation: String?
}

extension ObjectStore {
  /// Objects of a kind in the order of their making, page by page. Pages are read one after the other, each as it is then.
  /// - Throws: StoreError `invalid` for a continuation or a field that makes no sense.
  public func list(_ request: ListRequest) throws -> ListPage {
    let (condition, more) = try Self.condition(request.fields)
    let sql = "SELECT rowid AS place, * FROM objects WHERE kind = ? AND rowid > ?\(condition) ORDER BY rowid"
    let arguments = [request.kind, try Self.place(request.continuation)] + more
    return try read { db in
      var page = ListPage(
        items: [], resourceVersion: try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0, continuation: nil)
      let rows = try Row.fetchCursor(db, sql: sql, arguments: arguments)
      var last: Int64 = 0
      while let row = try rows.next() {
        let object = StoredObject(row: row)
        if let suits = request.suits, !suits(object.labels) { continue }
        if let limit = request.limit, page.items.count >= limit {
          page.continuation = "v1.\(last)"
          break
        }
        page.items.append(object)
        last = row["place"]
      }
      return page
    }
  }

  private static func place(_ continuation: String?) throws -> Int64 {
    guard let continuation else { return 0 }
    guard continuation.hasPrefix("v1."), let place = Int64(continuation.dropFirst(3)) else {
      throw StoreError(.invalid, "\"\(continuation.prefix(60))\" continues no list", advice: "begin anew")
    }
    return place
  }

  /// What the fields have to be, as further terms of a statement's condition.
  static func condition(_ fields: [FieldSelector.Requirement]) throws -> (sql: String, arguments: StatementArguments) {
    var (sql, arguments) = ("", StatementArguments())
    for field in fields {
      let (column, more) = try column(field.path)
      sql += " AND coalesce(CAST(\(column) AS TEXT), '') \(field.isNot ? "<>" : "=") ?"
      arguments += more + [field.value]
    }
    return (sql, arguments)
  }

  /// Where a field of an object is in its row.
  private static func column(_ path: String) throws -> (String, StatementArguments) {
    switch path {
    case "metadata.name": return ("name", [])
    case "metadata.namespace": return ("namespace", [])
    case "metadata.uid": return ("uid", [])
    default:
      let parts = path.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count > 1, ["spec", "status"].contains(parts[0]),
        parts.dropFirst().allSatisfy({ !$0.isEmpty && $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) } })
      else {
        throw StoreError(
          .invalid, "no objects can be chosen by the field \"\(path.prefix(60))\"",
          advice: "use metadata.name, metadata.uid, or a field as status.phase")
      }
      return ("json_extract(CAST(\(parts[0]) AS TEXT), ?)", ["$." + parts.dropFirst().joined(separator: ".")])
    }
  }
}
