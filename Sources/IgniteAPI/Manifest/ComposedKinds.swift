internal import IgniteSystem

/// A packaged application: objects that are brought about together, one after what it depends on.
public enum App {
  public static let kind = "App"
}

/// So many VMs of one kind.
public enum VMSet {
  public static let kind = "VMSet"
  /// The label of its VMs, with its name.
  public static let label = "ignite.weave.works/vmset"
  public static let mostReplicas: Int64 = 1000
}

extension KindSchema {
  /// What is made of other objects, and has none of the machine's itself.
  public static let composedKinds = [App.kind, VMSet.kind]

  public static let app = KindSchema(
    kind: App.kind, names: ["app", "apps"],
    help:
      "A packaged application: VMs, sets of VMs, volumes and what configures them, made, changed and deleted as one.",
    spec: [
      Field(
        "objects", .list(.object([VM.kind, VMSet.kind, Volume.kind, ConfigMap.kind, Secret.kind])), required: true,
        .inPlace,
        "What it consists of. One that is taken out is deleted.")
    ])

  public static let vmSet = KindSchema(
    kind: VMSet.kind, names: ["vmset", "vmsets"],
    help: "VMs of one template: NAME-0, NAME-1 and so on.",
    spec: [
      Field(
        "replicas", .whole(0...VMSet.mostReplicas), standard: .integer(1), .inPlace,
        "How many there are to be; the last ones go first."),
      Field(
        "update", .word(["Rolling", "Parallel"]), standard: .string("Rolling"), .inPlace,
        "How a changed template comes to the VMs: one after the other, each once the one before it is ready; or all at once."
      ),
      Field(
        "template",
        .record([
          Field("labels", .map, .inPlace, "Of the VMs, besides \(VMSet.label) with the set's name."),
          Field("annotations", .map, .inPlace, "Of the VMs."),
          Field(
            "spec", .record(vm.spec), required: true, .inPlace,
            "Of the VMs, which are replaced for what cannot be changed in place, unless its updatePolicy is InPlace."),
        ]), required: true, .inPlace, "What its VMs are."),
    ])
}

extension Manifest {
  public var isComposed: Bool { KindSchema.composedKinds.contains(kind) }
  /// Its whole spec is its last manifest's.
  public var isWhole: Bool { KindSchema.wholeKinds.contains(kind) }

  /// The object and all that it consists of, over all levels; each names its owner, and what it depends on.
  /// - Throws: ManifestError for what depends on what is not there.
  public func expanded() throws(ManifestError) -> [Manifest] {
    switch kind {
    case App.kind: try expandedApp()
    case VMSet.kind: [self] + replicas()
    default: [self]
    }
  }

  private func expandedApp() throws(ManifestError) -> [Manifest] {
    let objects = given["objects"]?.items ?? []
    let parts = objects.enumerated().map { index, object in
      Manifest(
        place: "\(place) (spec.objects[\(index)])", kind: object["kind"]?.string ?? "",
        name: object["name"]?.string ?? "",
        labels: object["labels"]?.texts ?? [:], annotations: object["annotations"]?.texts ?? [:],
        given: object["spec"] ?? .object([:]), owner: title)
    }
    var all = [self]
    for (part, object) in zip(parts, objects) {
      var part = part
      for item in object["dependsOn"]?.items ?? [] {
        let word = item.string ?? ""
        let found = parts.filter { $0.title == word || $0.name == word }
        guard let other = found.first, found.count == 1 else {
          throw ManifestError(
            "\(part.place): dependsOn: \(title) has \(found.isEmpty ? "no object" : "several objects") \"\(word)\"",
            advice: found.isEmpty
              ? "known are \(parts.map(\.title).joined(separator: ", "))" : "write \(found[0].title) or the other one")
        }
        part.dependsOn.append(other.title)
      }
      all += try part.expanded()
    }
    return all
  }

  private func replicas() -> [Manifest] {
    let template = given["template"] ?? .object([:])
    var spec = template["spec"] ?? .object([:])
    if spec["updatePolicy"] == nil { spec["updatePolicy"] = .string(UpdatePolicy.replace.rawValue) }
    let labels = (template["labels"]?.texts ?? [:]).merging([VMSet.label: name]) { $1 }
    let isRolling = given["update"]?.string != "Parallel"
    let count = given["replicas"]?.integer ?? 1
    return (0..<min(count, VMSet.mostReplicas)).map { index in
      var vm = Manifest(
        place: place, kind: VM.kind, name: "\(name)-\(index)", labels: labels,
        annotations: template["annotations"]?.texts ?? [:], given: spec, owner: title)
      vm.dependsOn = dependsOn
      vm.rollsAfter = isRolling && index > 0 ? "\(VM.kind)/\(name)-\(index - 1)" : nil
      return vm
    }
  }
}
