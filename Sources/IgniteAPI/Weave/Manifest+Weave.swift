internal import IgniteSystem

extension Manifest {
  /// What one of Weave Ignite's versions can say of a VM; the other direction of `WeaveConversion`.
  ///
  /// - Returns: a document that is converted to this manifest again, the names of its volumes made up.
  /// - Throws: ManifestError for the first thing that the version has no field for.
  func weaveDocument(_ version: WeaveVersion) throws(ManifestError) -> JSONValue {
    guard kind == VM.kind else { throw ManifestError("\(place): \(title): \(version.rawValue) has no such kind") }
    if let field = Self.unknown(Self.difference(given, KindSchema.vm.defaults) ?? .object([:]), "") {
      throw ManifestError("\(place): \(title): spec.\(field): \(version.rawValue) has no such field")
    }
    func refuse(_ field: String, _ problem: String) -> ManifestError {
      ManifestError("\(place): \(title): spec.\(field): in \(version.rawValue) \(problem)")
    }
    guard given["process"]?["boot"]?.string == BootMode.machine.rawValue else {
      throw refuse("process.boot", "a VM boots the image's own init")
    }
    guard let state = DesiredState(rawValue: given["state"]?.string ?? DesiredState.running.rawValue), state != .paused
    else { throw refuse("state", "a VM runs, or does not") }
    var spec: [String: JSONValue] = [:]
    spec["image"] = ["oci": Self.familiar(given["image"]?["oci"])]
    if let kernel = given["kernel"]?["oci"] { spec["kernel"] = ["oci": Self.familiar(kernel)] }
    spec["cpus"] = given["resources"]?["cpus"]
    spec["memory"] = Self.size(given["resources"]?["memory"])
    spec["diskSize"] = Self.size(given["resources"]?["disk"])
    var ports: [JSONValue] = []
    for (index, port) in (given["network"]?["ports"]?.items ?? []).enumerated() {
      guard let host = port["host"], host != .integer(0) else {
        throw refuse("network.ports[\(index)].host", "no port is chosen")
      }
      var result: [String: JSONValue] = ["hostPort": host]
      result["vmPort"] = port["vm"]
      result["bindAddress"] = port["address"]?.text.map(JSONValue.string)
      result["protocol"] = port["protocol"]?.text.map { .string($0.lowercased()) }
      ports.append(.object(result))
    }
    if !ports.isEmpty { spec["network"] = ["ports": .array(ports)] }
    var (volumes, mounts): ([JSONValue], [JSONValue]) = ([], [])
    for (index, mount) in (given["volumes"]?.items ?? []).enumerated() {
      guard let device = mount["blockDevice"]?["path"], let place = mount["mountPath"], mount["readOnly"] != true,
        mount.fields.keys.allSatisfy(["mountPath", "blockDevice", "readOnly"].contains)
      else { throw refuse("volumes[\(index)]", "volumes are block devices that can be written to") }
      volumes.append(["name": .string("volume\(index)"), "blockDevice": ["path": device]])
      mounts.append(["name": .string("volume\(index)"), "mountPath": place])
    }
    if !mounts.isEmpty { spec["storage"] = ["volumes": .array(volumes), "volumeMounts": .array(mounts)] }
    var metadata: JSONValue = ["name": .string(name)]
    if !labels.isEmpty { metadata["labels"] = .object(labels.mapValues(JSONValue.string)) }
    if !annotations.isEmpty { metadata["annotations"] = .object(annotations.mapValues(JSONValue.string)) }
    return [
      "apiVersion": .string(version.apiVersion), "kind": .string(kind), "metadata": metadata, "spec": .object(spec),
      "status": ["running": .bool(state == .running)],
    ]
  }

  private static let known: Set<String> = [
    "image.oci", "kernel.oci", "resources.cpus", "resources.memory", "resources.disk", "process.boot", "network.ports",
    "state", "volumes",
  ]

  /// The first field that has no equivalent, by name.
  private static func unknown(_ value: JSONValue, _ path: String) -> String? {
    if known.contains(path) { return nil }
    guard case .object(let fields) = value else { return path }
    for (name, field) in fields.sorted(by: { $0.key < $1.key }) {
      if let found = unknown(field, path.isEmpty ? name : "\(path).\(name)") { return found }
    }
    return nil
  }

  /// What differs from the default, which needs not be said; nil for nothing.
  private static func difference(_ value: JSONValue, _ standard: JSONValue?) -> JSONValue? {
    guard case .object(let fields) = value else { return value == standard || value == .null ? nil : value }
    var rest: [String: JSONValue] = [:]
    for (name, field) in fields { rest[name] = difference(field, standard?[name]) }
    return rest.isEmpty ? nil : .object(rest)
  }

  private static func familiar(_ reference: JSONValue?) -> JSONValue {
    .string(WeaveReference.familiar(reference?.string ?? ""))
  }

  private static func size(_ text: JSONValue?) -> JSONValue? {
    text?.string.flatMap(ByteQuantity.init(manifest:)).map { .string($0.weave) }
  }
}

extension ByteQuantity {
  /// As Weave Ignite wrote it: `512MB`.
  fileprivate var weave: String {
    let text = description
    return text.hasSuffix("iB") ? String(text.dropLast(2)) + "B" : text + "B"
  }
}
