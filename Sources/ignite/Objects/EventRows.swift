internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// Events as lines of a table, and in the shape of Kubernetes' Event.
enum EventRows {
  /// What `get` takes for them.
  static let names: Set<String> = ["event", "events", "ev"]

  /// The fields by which they can be chosen.
  static let fields = [
    "metadata.name", "involvedObject.kind", "involvedObject.name", "involvedObject.uid", "reason", "type",
  ]

  static let heads = (["LAST SEEN", "COUNT", "OBJECT", "ACTION", "MESSAGE"], ["TYPE", "FIRST SEEN", "NAME"])

  static func cells(_ event: CountedEvent, isWide: Bool, now: Date = Date()) -> [String] {
    let cells = [age(event.last, now), "\(event.count)", object(event), event.action, event.message]
    return isWide ? cells + [type(event), age(event.first, now), name(event)] : cells
  }

  /// `vm/web`.
  static func object(_ event: CountedEvent) -> String { "\(event.kind.lowercased())/\(event.name)" }

  static func type(_ event: CountedEvent) -> String { event.isWarning ? "Warning" : "Normal" }

  static func age(_ date: Date, _ now: Date = Date()) -> String { short(now.timeIntervalSince(date)) }

  /// `5m (x3 over 2h)`, as kubectl has it.
  static func ages(_ event: CountedEvent, now: Date = Date()) -> String {
    guard event.count > 1 else { return age(event.last, now) }
    return "\(age(event.last, now)) (x\(event.count) over \(short(now.timeIntervalSince(event.first))))"
  }

  /// A span of time in its largest unit: `45s`, `5m`.
  static func short(_ seconds: Double) -> String {
    let seconds = Int(max(0, seconds))
    return switch seconds {
    case ..<60: "\(seconds)s"
    case ..<3600: "\(seconds / 60)m"
    case ..<172_800: "\(seconds / 3600)h"
    default: "\(seconds / 86_400)d"
    }
  }

  static func manifest(_ event: CountedEvent) -> JSONValue {
    func text(_ date: Date) -> JSONValue { .string(date.formatted(Date.ISO8601FormatStyle())) }
    var object: JSONValue = [
      "apiVersion": .string(APIVersion.current), "kind": .string(event.kind), "name": .string(event.name),
      "namespace": "default",
    ]
    if let uid = event.uid { object["uid"] = .string(uid) }
    return [
      "apiVersion": "v1", "kind": "Event",
      "metadata": [
        "name": .string(name(event)), "namespace": "default", "creationTimestamp": text(event.first),
      ],
      "involvedObject": object, "reason": .string(event.action), "message": .string(event.message),
      "count": .integer(Int64(event.count)), "firstTimestamp": text(event.first), "lastTimestamp": text(event.last),
      "type": .string(type(event)), "source": ["component": "ignite"], "reportingComponent": "ignite",
    ]
  }

  /// The object's name, and digits that stay the same from call to call.
  private static func name(_ event: CountedEvent) -> String {
    let key = "\(event.kind)/\(event.uid ?? event.name) \(event.action) \(event.message)"
    // FNV-1a.
    let hash = key.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    let last = event.name.split(separator: "/").last.map(String.init) ?? event.name
    return String(last.prefix { $0 != ":" && $0 != "@" }) + "."
      + String(repeating: "0", count: max(0, 16 - digits.count)) + digits
  }
}

extension GetCommand {
  /// `get events`.
  func events(_ format: Format) async throws {
    if watch { throw ValidationError("events are followed by `ignite events`") }
    if selector != nil {
      throw ValidationError("events have no labels; choose by --for vm/web, or --field-selector type=Warning")
    }
    let title = try about.map { try EventObject.title($0) }
    var found = try await Controller(engine: try await global.engine()).events()
    if let title { found = found.filter { $0.title == title } }
    var rows = found.map { (event: $0, manifest: EventRows.manifest($0)) }
    if !names.isEmpty {
      for name in names where !rows.contains(where: { $0.manifest["metadata"]?["name"]?.string == name }) {
        throw EngineError(.notFound, "there is no event \"\(name)\"", advice: "list them: ignite get events -o wide")
      }
      rows = rows.filter { names.contains($0.manifest["metadata"]?["name"]?.string ?? "") }
    }
    if let fieldSelector {
      let fields = try ObjectNames.fields(fieldSelector, of: "event", EventRows.fields)
      rows = rows.filter { fields.suits($0.manifest) }
    }
    if let sortBy {
      let path = sortBy.split(separator: ".").map(String.init)
      rows.sort { Self.key($0.manifest, path) < Self.key($1.manifest, path) }
    }
    switch format {
    case .json: try Output.json(rows.map(\.manifest))
    case .yaml: FileHandleOutput.standardOutput.write(try ManifestWriter.yaml(rows.map(\.manifest)))
    case .name: for row in rows { Output.line("event/\(row.manifest["metadata"]?["name"]?.string ?? "")") }
    case .table, .wide:
      let (heads, wide) = EventRows.heads
      var table = Table(format == .wide ? heads + wide : heads)
      for row in rows { table.add(EventRows.cells(row.event, isWide: format == .wide)) }
      FileHandleOutput.standardOutput.write(table.text())
    }
  }
}

/// The object that events are wanted of.
private enum EventObject {
  /// `vm/web`, or `image/NAME`, as `VM/web`.
  static func title(_ word: String) throws -> String {
    let parts = word.split(separator: "/", maxSplits: 1).map(String.init)
    if parts.count == 2, ["image", "images"].contains(parts[0].lowercased()) { return "Image/\(parts[1])" }
    let titles = try ObjectNames.titles([word])
    return titles.first ?? word
  }
}
