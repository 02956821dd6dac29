import IgniteAPI
import IgniteSystem
import Testing

@testable import IgniteControl

@Suite struct Order {
  private func vm(_ name: String, after: [String] = [], volume: String? = nil) -> Manifest {
    var spec: JSONValue = ["image": ["oci": "x"]]
    if let volume { spec["volumes"] = [["mountPath": "/v", "volume": ["name": .string(volume)]]] }
    var manifest = Manifest(
      place: "x:1", kind: VM.kind, name: name, labels: [:], annotations: [:], given: spec)
    manifest.dependsOn = after.map { "VM/\($0)" }
    return manifest
  }

  private func part(_ name: String, _ after: [String] = []) -> JSONValue {
    [
      "kind": "VM", "name": .string(name), "dependsOn": .array(after.map(JSONValue.string)),
      "spec": ["image": ["oci": "x"]],
    ]
  }

  private func app(_ parts: [JSONValue]) -> Manifest {
    Manifest(
      place: "x:1", kind: App.kind, name: "shop", labels: [:], annotations: [:], given: ["objects": .array(parts)])
  }

  @Test func eachComesAfterWhatItNeeds() throws {
    let volume = Manifest(
      place: "x:9", kind: Volume.kind, name: "data", labels: [:], annotations: [:], given: ["size": "64MiB"])
    let sorted = try ObjectOrder.sorted([vm("c", after: ["b"]), vm("b", after: ["a"], volume: "data"), vm("a"), volume])
    #expect(sorted.map(\.title) == ["Volume/data", "VM/a", "VM/b", "VM/c"])
    // What is not among them is not waited for; what needs nothing stays where it stands.
    #expect(try ObjectOrder.sorted([vm("z", after: ["elsewhere"]), vm("y")]).map(\.name) == ["z", "y"])
  }

  /// Chains as long as any manifest has: no recursion.
  @Test func longChains() throws {
    let chain = (0..<9_000).map { vm("v\($0)", after: $0 > 0 ? ["v\($0 - 1)"] : []) }
    #expect(try ObjectOrder.sorted(chain.reversed()).map(\.name) == chain.map(\.name))
  }

  @Test func circlesAreNamed() throws {
    let error = #expect(throws: ManifestError.self) {
      try ObjectOrder.sorted([vm("x"), vm("a", after: ["c"]), vm("b", after: ["a"]), vm("c", after: ["b"])])
    }
    #expect(error?.message.contains("VM/a -> VM/c -> VM/b -> VM/a") == true, "\(error?.message ?? "")")
    let own = #expect(throws: ManifestError.self) { try ObjectOrder.sorted([vm("a", after: ["a"])]) }
    #expect(own?.message.contains("VM/a -> VM/a") == true)
    // Over a set's VMs, too.
    let set: JSONValue = [
      "kind": "VMSet", "name": "w", "dependsOn": ["a"],
      "spec": ["replicas": .integer(2), "template": ["spec": ["image": ["oci": "x"]]]],
    ]
    #expect(throws: ManifestError.self) { try Controller.expanded([app([part("a", ["w"]), set])]) }
  }

  @Test func appsAndSetsAreTakenApart() throws {
    let set: JSONValue = [
      "kind": "VMSet", "name": "w", "dependsOn": ["a"],
      "spec": [
        "replicas": .integer(3), "template": ["labels": ["role": "w"], "spec": ["image": ["oci": "x"]]],
      ],
    ]
    let all = try Controller.expanded([app([set, part("a"), part("b", ["VMSet/w"])])])
    #expect(all.map(\.title) == ["App/shop", "VM/a", "VMSet/w", "VM/w-0", "VM/w-1", "VM/w-2", "VM/b"])
    #expect(all.map(\.owner) == [nil, "App/shop", "App/shop", "VMSet/w", "VMSet/w", "VMSet/w", "App/shop"])
    #expect(all[4].rollsAfter == "VM/w-0" && all[3].rollsAfter == nil)
    #expect(all[3].dependsOn == ["VM/a"])
    #expect(all[3].labels == ["role": "w", VMSet.label: "w"])
    #expect(all[3].given["updatePolicy"] == "Replace")
    for (parts, problem) in [
      ([part("a"), part("a")], "stands in"), ([part("a", ["b"])], "no object \"b\""),
      ([set, part("w", []), part("a", ["w"])], "several objects"),
    ] {
      let error = #expect(throws: ManifestError.self) { try Controller.expanded([app(parts)]) }
      #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
    }
  }

  @Test func troubleIsTriedAgainLaterAndLater() {
    for (troubles, seconds) in [(1, 1.0), (2, 2), (5, 16), (9, 256), (10, 300), (1_000_000, 300)] {
      for _ in 0..<20 {
        let delay = Reconciler.delay(after: troubles)
        #expect(delay >= .milliseconds(Int64(seconds * 750)) && delay <= .milliseconds(Int64(seconds * 1250)))
      }
    }
  }

  @Test func conditionsAreSummedUpInOnePlace() {
    func states(_ readiness: Readiness, isDeleting: Bool = false) -> [String] {
      readiness.conditions(isDeleting: isDeleting, generation: 7, otherwise: "fine").map {
        "\($0["type"]?.string ?? "")=\($0["status"]?.string ?? "")"
      }
    }
    #expect(states(.ready) == ["Ready=True", "Reconciling=False", "Stalled=False"])
    #expect(states(.waiting("x")) == ["Ready=False", "Reconciling=True", "Stalled=False"])
    #expect(states(.failed("x")) == ["Ready=False", "Reconciling=False", "Stalled=True"])
    #expect(states(.ready, isDeleting: true) == ["Ready=False", "Reconciling=True", "Stalled=False"])
  }
}
