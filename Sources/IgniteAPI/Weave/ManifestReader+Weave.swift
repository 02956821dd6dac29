internal import IgniteSystem
internal import Yams

extension ManifestReader {
  /// A document of one of Weave Ignite's versions: read as strictly as any, and converted to the current one.
  mutating func weaveManifest(
    _ node: Node, _ fields: [String: Node], _ version: WeaveVersion
  ) throws(ManifestError) -> Manifest {
    leavesOutEmpty = true
    defer { leavesOutEmpty = false }
    let fields = fields.filter { !Self.isEmpty($0.value) }
    guard let word = fields["kind"]?.string else {
      throw fail(node, "kind", "it is missing", advice: "write one of \(version.kindNames.joined(separator: ", "))")
    }
    guard let kind = WeaveKind(rawValue: word), version.kinds.contains(kind) else {
      let near = EditDistance.nearest(to: word, in: version.kindNames)
      throw fail(
        fields["kind"], "kind", "\"\(Self.short(word))\" is not known in \(version.rawValue)",
        advice: near.map { "did you mean \($0)?" } ?? "write one of \(version.kindNames.joined(separator: ", "))")
    }
    switch kind {
    case .pool:
      throw fail(
        fields["kind"], "kind", "a Pool described one of the device mapper, which Ignite does not use",
        advice: "leave the document out")
    case .configuration:
      throw fail(
        fields["kind"], "kind", "a Configuration of \(version.rawValue) has no equivalent",
        advice:
          "leave it out; vmDefaults belong into the spec of each VM, and /etc/ignite/config.yaml has Ignite's own configuration"
      )
    case .vm, .image, .kernel: break
    }
    let metadata = try optional(fields["metadata"], "metadata", WeaveSchema.metadata)
    guard let specNode = fields["spec"] else { throw fail(node, "spec", "it is missing") }
    let spec = try value(specNode, "spec", kind == .vm ? WeaveSchema.vm : WeaveSchema.image, depth: 0)
    switch kind {
    case .image, .kernel:
      _ = try optional(
        fields["status"], "status", kind == .image ? WeaveSchema.imageStatus : WeaveSchema.kernelStatus)
      return try hostObject(kind == .image ? HostKind.image : HostKind.kernel, metadata, spec, node, fields["metadata"])
    default: break
    }
    let status = try optional(fields["status"], "status", WeaveSchema.vmStatus(version))
    let name = try vmName(metadata, node, fields["metadata"])
    var conversion = WeaveConversion(reader: self, name: name, document: node, spec: spec, status: status)
    try conversion.convert(annotations: metadata["annotations"]?.fields ?? [:])
    return Manifest(
      place: "\(file):\(node.mark?.line ?? 1)", kind: VM.kind, name: name,
      labels: metadata["labels"]?.fields.compactMapValues(\.string) ?? [:], annotations: conversion.annotations,
      given: .object(conversion.given), warnings: conversion.warnings)
  }

  private mutating func optional(_ node: Node?, _ path: String, _ shape: Shape) throws(ManifestError) -> JSONValue {
    guard let node else { return .object([:]) }
    return try value(node, path, shape, depth: 0)
  }

  /// An Image or a Kernel: its name, without one its source's, is what VMs name it by.
  private func hostObject(
    _ kind: String, _ metadata: JSONValue, _ spec: JSONValue, _ document: Node, _ node: Node?
  ) throws(ManifestError) -> Manifest {
    guard let source = spec["oci"]?.string else { throw fail(document, "spec.oci", "it is missing") }
    let name = metadata["name"]?.string ?? source
    if let problem = HostKind.problem(with: name) {
      throw fail(node?["name"] ?? document, "metadata.name", "\"\(Self.short(name))\" cannot be taken: \(problem)")
    }
    return Manifest(
      place: "\(file):\(document.mark?.line ?? 1)", kind: kind,
      name: kind == HostKind.image ? HostKind.canonical(name) : name,
      labels: metadata["labels"]?.texts ?? [:], annotations: metadata["annotations"]?.texts ?? [:],
      given: ["oci": .string(source)])
  }

  private func vmName(_ metadata: JSONValue, _ document: Node, _ node: Node?) throws(ManifestError) -> String {
    guard let name = metadata["name"]?.string else {
      throw fail(
        node ?? document, "metadata.name", "it is missing",
        advice: "give the VM a name: one that was made up would be another each time")
    }
    if let problem = ObjectName.problem(with: name) {
      throw fail(node?["name"], "metadata.name", "\"\(Self.short(name))\" cannot be taken: \(problem)")
    }
    return name
  }
}
