import FoundationEssentials
import IgniteAPI
import IgniteEngine
import IgniteSystem
import Testing

@testable import IgniteControl

@Suite struct MergedObjects {
  private let live: JSONValue = [
    "kind": "VM", "metadata": ["name": "web", "labels": ["tier": "web", "by": "hand"]],
    "spec": ["restart": ["policy": "Always"], "image": ["oci": "nginx"], "limits": ["cpuMillis": .integer(500)]],
  ]

  private func change(_ fields: [(String, JSONValue?, JSONValue?)]) -> PlannedChange {
    PlannedChange(
      action: .update, kind: "VM", name: "web",
      changes: fields.map { .init(field: $0.0, old: $0.1, new: $0.2, forcesReplacement: false) })
  }

  @Test func onlyWhatIsPlannedChanges() {
    let merged = change([
      ("metadata.labels.tier", "web", "db"), ("metadata.labels.example.com/a.b", nil, "c"),
      ("spec.stopTimeout", nil, .integer(7)), ("metadata.owner", nil, "App/shop"),
    ]).merged(onto: live)
    var wanted = live
    wanted["metadata"] = ["name": "web", "labels": ["tier": "db", "by": "hand", "example.com/a.b": "c"]]
    wanted["spec"]?["stopTimeout"] = .integer(7)
    #expect(merged == wanted)
  }

  @Test func whatIsTakenAwayLeavesNoEmptyMapping() {
    let merged = change([
      ("spec.restart.policy", "Always", nil), ("metadata.labels.tier", "web", nil),
      ("metadata.labels.by", "hand", nil),
    ]).merged(onto: live)
    #expect(merged["spec"]?["restart"] == nil)
    #expect(merged["spec"]?["limits"]?["cpuMillis"] == .integer(500))
    #expect(merged["metadata"] == ["name": "web"])
  }

  @Test func mappingsAreMadeWhereThereAreNone() {
    let merged = change([("spec.health.retries", nil, .integer(3))]).merged(onto: ["spec": [:]])
    #expect(merged == ["spec": ["health": ["retries": .integer(3)]]])
  }

  @Test func aStateIsAsItWasFound() {
    let found = change([("spec.state", "Failed", "Running"), ("spec.restart.policy", "x", "y")]).found(in: live)
    #expect(found["spec"]?["state"] == "Failed" && found["spec"]?["restart"]?["policy"] == "Always")
  }
}

@Suite struct CountedEvents {
  private func event(
    _ seconds: Double, _ action: String, id: String = "1234", type: String = "vm", _ attributes: [String: String] = [:]
  ) throws -> Event {
    let json: JSONValue = [
      "time": .number(seconds), "type": .string(type), "action": .string(action), "id": .string(id),
      "attributes": .object(attributes.mapValues(JSONValue.string)),
    ]
    return try JSONDecoder().decode(Event.self, from: JSONEncoder().encode(json))
  }

  @Test func equalOnesAreOne() throws {
    let name = ["name": "web"]
    let events = CountedEvent.counted([
      try event(1.5, "start", name), try event(2.5, "die", ["name": "web", "exitCode": "3"]),
      try event(3.5, "start", name), try event(4.5, "die", ["name": "web", "exitCode": "0"]),
      try event(5.5, "start", id: "5678", ["name": "web"]),
      try event(6.5, "rename", ["name": "www", "oldName": "web"]),
    ])
    #expect(events.map(\.title) == ["VM/www", "VM/www", "VM/www", "VM/web", "VM/www"])
    #expect(events.map(\.action) == ["die", "start", "die", "start", "rename"])
    #expect(events.map(\.count) == [1, 2, 1, 1, 1])
    #expect(events.map(\.isWarning) == [true, false, false, false, false])
    #expect(events[1].last.timeIntervalSince(events[1].first) == 2)
  }

  @Test func actionsAreToldFromWhatTheyCameTo() throws {
    let events = CountedEvent.counted([
      try event(1.5, "health_status: unhealthy", ["name": "web"]), try event(2.5, "import", id: "a/b:c", type: "image"),
      try event(3.5, "create", id: "w", type: "vmset"),
    ])
    #expect(events.map(\.action) == ["health_status", "import", "create"])
    #expect(events[0].message == "unhealthy" && events[0].isWarning)
    #expect(events.map(\.title) == ["VM/web", "Image/a/b:c", "VMSet/w"])
  }
}
