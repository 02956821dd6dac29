internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// A Sync's spec; times in milliseconds.
struct SyncSpec: Decodable, Sendable {
  struct Reference: Decodable, Sendable {
    var kind: String
    var name: String
    var title: String { "\(kind)/\(name)" }
  }

  struct Named: Decodable, Sendable { var name: String }

  struct Metadata: Decodable, Sendable {
    var labels: [String: String]?
    var annotations: [String: String]?
  }

  struct Values: Decodable, Sendable {
    struct From: Decodable, Sendable {
      var kind: String
      var name: String
      var optional: Bool?
    }
    var substitute: [String: String]?
    var substituteFrom: [From]?
  }

  var sourceRef: Reference
  var path: String?
  var prune: Bool?
  var interval: Int64?
  var retryInterval: Int64?
  var timeout: Int64?
  var wait: Bool?
  var healthChecks: [Reference]?
  var dependsOn: [Named]?
  var force: Bool?
  var suspend: Bool?
  var commonMetadata: Metadata?
  var postBuild: Values?
  var driftPolicy: String?

  init(_ object: DeclaredObject) throws {
    self = try APICoding.decoder().decode(SyncSpec.self, from: APICoding.encoder().encode(object.spec))
  }

  /// Relative, without a leading `./`; "" is the source's root.
  var folder: String {
    (path ?? "").split(separator: "/").filter { $0 != "." }.joined(separator: "/")
  }

  /// The inventory of the sync's objects.
  static func inventory(_ name: String) -> String { "sync.\(name)" }
}
