internal import FoundationEssentials
public import IgniteAPI
internal import IgniteEngine
public import IgniteSystem

/// An object as it is, and as it would be once its manifest was applied.
public struct ObjectDifference: Sendable {
  public var change: PlannedChange
  /// apiVersion, kind, metadata with name and labels, and spec, as a manifest has them; nil of one that is not there.
  public var live: JSONValue?
  /// The same of what would be; nil of one that would be deleted. Of one that cannot be changed, what its manifest asks for.
  public var merged: JSONValue?
}

extension ObjectDifference {
  /// As kubectl does: what is the same on both sides cannot be told from others, and what differs is only said to.
  fileprivate mutating func hideValues() {
    func hidden(_ document: JSONValue?, _ other: JSONValue?, _ word: String) -> JSONValue? {
      guard var document, let data = document["data"]?.fields else { return document }
      document["data"] = .object(
        Dictionary(
          uniqueKeysWithValues: data.map { key, value in
            (key, .string(other?["data"]?[key].map { $0 == value } ?? true ? "***" : "*** (\(word))"))
          }))
      return document
    }
    (live, merged) = (hidden(live, merged, "before"), hidden(merged, live, "after"))
  }
}

extension Controller {
  /// What applying the manifests would make of their objects, of all that these consist of, and of what goes with it; those that
  /// stay as they are are left out.
  /// - Throws: ManifestError, as `plan` does.
  public func differences(_ manifests: [Manifest]) async throws -> [ObjectDifference] {
    let all = Dictionary(try Self.expanded(manifests).map { ($0.title, $0) }) { first, _ in first }
    let plan = try await plan(manifests)
    let there = try await Snapshot(engine)
    return try plan.changes.filter { $0.action != .none }.map { change in
      let live = try there.document(change)
      let merged = try change.action == .delete ? nil : all[change.title].map { try self.merged(change, $0, live) }
      var difference = ObjectDifference(change: change, live: try live?.written(), merged: try merged?.written())
      if change.kind == Secret.kind { difference.hideValues() }
      return difference
    }
  }

  private func merged(_ change: PlannedChange, _ manifest: Manifest, _ live: JSONValue?) throws -> JSONValue {
    let isMade = change.action == .create || change.action == .replace
    guard let live, !isMade || manifest.isWhole else {
      return .document(manifest.kind, manifest.name, manifest.labels, try spec(of: manifest, change, live))
    }
    var merged = change.merged(onto: live)
    if manifest.isWhole { merged["spec"] = manifest.completed }
    return merged
  }

  /// The spec of an object that is made from the manifest.
  private func spec(of manifest: Manifest, _ change: PlannedChange, _ live: JSONValue?) throws -> JSONValue {
    guard manifest.kind == VM.kind else { return manifest.completed }
    var spec: VMSpec = try manifest.spec(over: VMSpec(image: VMSpec.Image(oci: "")))
    spec.image.oci = engine.imageName(spec.image.oci) ?? spec.image.oci
    var made = try JSONValue(encoding: spec)
    // What is decided when a VM is made was decided for the one that is there.
    for path in [["process", "boot"], ["network", "ports"]] {
      let isChanged = change.changes.contains { $0.field == "spec." + path.joined(separator: ".") }
      if !isChanged, let value = path.reduce(live?["spec"], { $0?[$1] }) { made = made.setting(path[...], value) }
    }
    return made
  }
}

extension PlannedChange {
  /// An object's JSON with the change's fields, and no others, as they are to be.
  public func merged(onto object: JSONValue) -> JSONValue { changes.reduce(object) { $0.setting($1.path, $1.new) } }

  /// The object's JSON with the fields' values that the plan found: a state is what there is, and not what was wished.
  func found(in object: JSONValue) -> JSONValue {
    changes.filter { $0.field == "spec.state" && $0.old != nil }.reduce(object) { $0.setting($1.path, $1.old) }
  }
}

extension PlannedChange.FieldChange {
  /// The names that lead to the field in the object's JSON; none of what is not in it.
  fileprivate var path: ArraySlice<String> {
    let labels = "metadata.labels."
    // A label's name has dots of its own.
    if field.hasPrefix(labels) { return ["metadata", "labels", String(field.dropFirst(labels.count))] }
    return field.hasPrefix("spec.") && isSummary != true ? field.split(separator: ".").map(String.init)[...] : []
  }
}

extension JSONValue {
  static func document(_ kind: String, _ name: String, _ labels: [String: String]?, _ spec: JSONValue) -> JSONValue {
    var metadata: JSONValue = ["name": .string(name)]
    if let labels, !labels.isEmpty { metadata["labels"] = .object(labels.mapValues(JSONValue.string)) }
    return [
      "apiVersion": .string(APIVersion.current), "kind": .string(kind), "metadata": metadata, "spec": spec,
    ]
  }

  init(encoding value: some Encodable) throws { self = try .parse(Array(try APICoding.encoder().encode(value))) }

  /// The value at that path replaced, nil taking it away; a mapping that has nothing more is none.
  func setting(_ path: ArraySlice<String>, _ value: JSONValue?) -> JSONValue {
    guard let name = path.first else { return self }
    var copy = self
    if path.count == 1 {
      copy[name] = value
    } else {
      let inner = (self[name] ?? .object([:])).setting(path.dropFirst(), value)
      copy[name] = inner == .object([:]) ? nil : inner
    }
    return copy
  }

  /// A document as it is written, without mappings that say nothing.
  fileprivate func written() throws -> JSONValue {
    var document = try ManifestWriter.manifest(of: self, kind: self["kind"]?.string ?? "")
    if let spec = document["spec"] { document["spec"] = spec.withoutEmpty }
    return document
  }

  private var withoutEmpty: JSONValue {
    guard case .object(let fields) = self else { return self }
    return .object(fields.mapValues(\.withoutEmpty).filter { $0.value != .object([:]) })
  }
}

extension Snapshot {
  /// The object that the change is of; nil where it is not there.
  fileprivate func document(_ change: PlannedChange) throws -> JSONValue? {
    guard let metadata = metadata(change.title) else { return nil }
    let spec =
      switch change.kind {
      case VM.kind: try JSONValue(encoding: vms[change.name]?.spec)
      case Volume.kind: try JSONValue(encoding: volumes[change.name]?.spec)
      default: declared[change.title]?.spec ?? .object([:])
      }
    return change.found(in: .document(change.kind, change.name, metadata.labels, spec))
  }
}
