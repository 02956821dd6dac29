internal import IgniteSystem
internal import Yams

/// A VM of Weave Ignite's versions in the current one's terms. What has no equivalent and is missed by nobody is left out,
/// with a warning; what would change what the user gets is refused.
struct WeaveConversion {
  let reader: ManifestReader
  /// Of the VM.
  let name: String
  let document: Node
  let spec: JSONValue
  let status: JSONValue
  private(set) var given: [String: JSONValue] = [:]
  private(set) var annotations: [String: String] = [:]
  private(set) var warnings: [String] = []

  init(reader: ManifestReader, name: String, document: Node, spec: JSONValue, status: JSONValue) {
    self.reader = reader
    self.name = name
    self.document = document
    self.spec = spec
    self.status = status
  }

  /// - Parameter annotations: the document's own.
  mutating func convert(annotations: [String: JSONValue]) throws(ManifestError) {
    try refuse()
    given["image"] = spec["image"]
    if let kernel = spec["kernel"]?["oci"] { given["kernel"] = ["oci": kernel] }
    given["resources"] = resources
    // Weave Ignite's VMs boot the image's init, whatever its entrypoint and command are.
    given["process"] = ["boot": .string(BootMode.machine.rawValue)]
    if let ports = spec["network"]?["ports"]?.items, !ports.isEmpty {
      given["network"] = ["ports": .array(ports.map(Self.port))]
    }
    let mounts = try self.mounts()
    if !mounts.isEmpty { given["volumes"] = .array(mounts) }
    if spec["sandbox"] != nil {
      warn("spec.sandbox", Self.noContainer)
    }
    if spec["ssh"] == true {
      warn("spec.ssh", "it is left out: `ignite exec` and `ignite cp` need neither a key nor a server in the image")
    }
    try convert(annotations)
    convertState()
  }

  private static let noContainer = "it is left out: no container holds a VM's hypervisor"

  // MARK: What is refused

  private func refuse() throws(ManifestError) {
    if let file = spec["copyFiles"]?.items.first {
      let (host, vm) = (file["hostPath"]?.string ?? "", file["vmPath"]?.string ?? "")
      throw problem(
        "spec.copyFiles", "files are not copied from a manifest",
        advice: "leave it out, and copy when the VM runs: "
          + "ignite cp \(ManifestReader.short(host)) \(name):\(ManifestReader.short(vm))")
    }
    if let key = spec["ssh"]?.text {
      throw problem(
        "spec.ssh", "a public key is not put into a VM",
        advice:
          "leave it out: ignite exec -it \(name) sh needs no key; for a server in the image, copy it when the VM runs: "
          + "ignite cp \(ManifestReader.short(key)) \(name):/root/.ssh/authorized_keys")
    }
    if let line = spec["kernel"]?["cmdLine"]?.text,
      line.split(separator: " ") != WeaveDefaults.kernelArguments.split(separator: " ")
    {
      throw problem("spec.kernel.cmdLine", "the kernel's arguments are Ignite's own", advice: "leave it out")
    }
  }

  // MARK: What has an equivalent

  /// Nothing and zero are the default, which is the same here.
  private var resources: JSONValue? {
    var resources: [String: JSONValue] = [:]
    if let cpus = spec["cpus"], cpus != .integer(0) { resources["cpus"] = cpus }
    for (old, new) in [("memory", "memory"), ("diskSize", "disk")] {
      if let size = spec[old], size != .string("0") { resources[new] = size }
    }
    return resources.isEmpty ? nil : .object(resources)
  }

  private static func port(_ port: JSONValue) -> JSONValue {
    var result: [String: JSONValue] = [:]
    result["address"] = port["bindAddress"]
    result["host"] = port["hostPort"]
    result["vm"] = port["vmPort"]
    result["protocol"] = port["protocol"]?.string.map { .string($0.uppercased()) }
    return .object(result)
  }

  /// The mounts, each with the device of its volume (pkg/apis/ignite/validation/storage.go).
  private func mounts() throws(ManifestError) -> [JSONValue] {
    let (volumes, mounts) = ("spec.storage.volumes", "spec.storage.volumeMounts")
    var devices: [String: String] = [:]
    var paths: Set<String> = []
    var order: [String] = []
    for (index, volume) in (spec["storage"]?["volumes"]?.items ?? []).enumerated() {
      let (name, path) = (volume["name"]?.string ?? "", volume["blockDevice"]?["path"]?.string ?? "")
      if name.isEmpty { throw problem("\(volumes)[\(index)].name", "it is empty") }
      if devices[name] != nil { throw problem("\(volumes)[\(index)].name", "another volume has the name, too") }
      try checkAbsolute(path, "\(volumes)[\(index)].blockDevice.path")
      guard paths.insert(path).inserted else {
        throw problem("\(volumes)[\(index)].blockDevice.path", "another volume has the device, too")
      }
      devices[name] = path
      order.append(name)
    }
    var found: [JSONValue] = []
    var (names, places): (Set<String>, Set<String>) = ([], [])
    for (index, mount) in (spec["storage"]?["volumeMounts"]?.items ?? []).enumerated() {
      let (name, place) = (mount["name"]?.string ?? "", mount["mountPath"]?.string ?? "")
      guard let device = devices[name] else {
        throw problem(
          "\(mounts)[\(index)].name", "no volume is named \"\(ManifestReader.short(name))\"",
          advice: EditDistance.nearest(to: name, in: order).map { "did you mean \(ManifestReader.short($0))?" })
      }
      guard names.insert(name).inserted else {
        throw problem("\(mounts)[\(index)].name", "the volume is mounted twice")
      }
      try checkAbsolute(place, "\(mounts)[\(index)].mountPath")
      guard places.insert(place).inserted else {
        throw problem("\(mounts)[\(index)].mountPath", "another volume is mounted there, too")
      }
      found.append(["mountPath": .string(place), "blockDevice": ["path": .string(device)]])
    }
    if let index = order.firstIndex(where: { !names.contains($0) }) {
      throw problem(
        "\(volumes)[\(index)]", "no volumeMount names it, and a device is in a VM only where it is mounted",
        advice: "mount it, or leave it out")
    }
    return found
  }

  private func checkAbsolute(_ path: String, _ field: String) throws(ManifestError) {
    guard path.hasPrefix("/") else { throw problem(field, "it is no absolute path") }
  }

  private mutating func convert(_ all: [String: JSONValue]) throws(ManifestError) {
    let names = all.keys.sorted()
    if let name = names.first(where: { $0.hasPrefix(WeaveAnnotation.interface) }) {
      throw reader.fail(
        node(["metadata", "annotations", name]), "metadata.annotations.\(ManifestReader.short(name))",
        "a VM has one network card", advice: "leave it out")
    }
    annotations = all.filter { !$0.key.hasPrefix(WeaveAnnotation.sandboxVariable) }.compactMapValues(\.string)
    guard let name = names.first(where: { $0.hasPrefix(WeaveAnnotation.sandboxVariable) }) else { return }
    warnings.append(
      reader.located(
        node(["metadata", "annotations", name]), "metadata.annotations.\(ManifestReader.short(name))", Self.noContainer)
    )
  }

  /// Weave Ignite's daemon made a VM what its status said, and what it did not say was no.
  private mutating func convertState() {
    let isRunning = status["running"]?.bool
    let state = isRunning == true ? DesiredState.running : .stopped
    given["state"] = .string(state.rawValue)
    guard isRunning == nil else {
      return warn("status.running", "it is taken for spec.state: \(state.rawValue), which is to be written instead")
    }
    warn(
      "status.running",
      "it is not there, which means no: the VM is made, and not started; spec.state: Running is to be written instead")
  }

  // MARK: Messages

  /// The key of a field, the node of a list's element, or what it would stand in.
  private func node(_ path: [String]) -> Node {
    var (node, place) = (document, document)
    for part in path {
      switch node {
      case .mapping(let mapping):
        guard let field = mapping.first(where: { $0.key.string == part }) else { return place }
        (node, place) = (field.value, field.key)
      case .sequence(let items):
        guard let index = Int(part), items.indices.contains(index) else { return place }
        (node, place) = (items[index], items[index])
      default: return place
      }
    }
    return place
  }

  /// The same of a field as messages name it: `spec.network.ports[0].hostPort`.
  private func node(_ field: String) -> Node {
    node(field.split(whereSeparator: { ".[]".contains($0) }).map(String.init))
  }

  private func problem(_ field: String, _ problem: String, advice: String? = nil) -> ManifestError {
    reader.fail(node(field), field, problem, advice: advice)
  }

  private mutating func warn(_ field: String, _ sentence: String) {
    warnings.append(reader.located(node(field), field, sentence))
  }
}

extension JSONValue {
  /// An array's; none for what is no array.
  var items: [JSONValue] {
    if case .array(let items) = self { return items }
    return []
  }
}
