internal import FoundationEssentials
internal import IgniteSystem
internal import Yams

/// Reads manifests, YAML or JSON, several documents in a text; strictly: what is not in the schema is an error.
public struct ManifestReader {
  let file: String
  private var document = 0
  private var values = 0
  /// Null and an empty mapping say nothing, as Go reads them.
  var leavesOutEmpty = false

  /// - Parameter file: as messages name it.
  /// - Throws: ManifestError with file, line and field.
  public static func read(_ text: String, file: String) throws(ManifestError) -> [Manifest] {
    guard text.utf8.count <= ManifestLimits.fileBytes else {
      throw ManifestError(
        "\(file) has \(text.utf8.count >> 20) MiB, and a manifest \(ManifestLimits.fileBytes >> 20) at most",
        advice: "split it into several files")
    }
    try checkDepth(text, file)
    var reader = ManifestReader(file: file)
    var manifests: [Manifest] = []
    do {
      var documents = try Yams.compose_all(yaml: text)
      while let node = documents.next() {
        reader.document += 1
        reader.values = 0
        guard reader.document <= ManifestLimits.documents else {
          throw ManifestError("\(file) has more than \(ManifestLimits.documents) documents", advice: "split it")
        }
        // An empty document is none.
        if case .scalar(let scalar) = node, scalar.string.isEmpty || scalar.string == "null" { continue }
        manifests.append(try reader.manifest(node))
      }
      if let error = documents.error { throw error }
    } catch let error as ManifestError {
      throw error
    } catch let error as YamlError {
      throw ManifestError("\(file): \(Self.line(of: error))")
    } catch {
      throw ManifestError("\(file) is not YAML")
    }
    return manifests
  }

  private static func line(of error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "line \(mark.line): it is not YAML: \(problem)"
    case .duplicatedKeysInMapping(let keys, let context):
      "line \(context.mark.line): a key stands twice: \(keys.map { "\($0)" }.joined(separator: ", "))"
    default: "it is not YAML"
    }
  }

  /// What nests deeper than any manifest would exhaust the parser's stack: brackets outside each other, and lines that begin
  /// many levels at once. An estimate from above, with room.
  private static func checkDepth(_ text: String, _ file: String) throws(ManifestError) {
    var (open, leading, isLeading) = (0, 0, true)
    for byte in text.utf8 {
      switch byte {
      case 0x5b, 0x7b: open += 1
      case 0x5d, 0x7d: open = max(0, open - 1)
      default: break
      }
      if byte == 10 {
        (leading, isLeading) = (0, true)
      } else if isLeading {
        if [0x20, 0x2d, 0x3f, 0x3a, 0x21, 0x26].contains(byte) { leading += 1 } else { isLeading = false }
      }
      if open > 1000 || leading > 1000 {
        throw ManifestError("\(file) nests more than \(ManifestLimits.depth) levels deep")
      }
    }
  }

  func fail(_ node: Node?, _ field: String, _ problem: String, advice: String? = nil) -> ManifestError {
    ManifestError(located(node, field, problem), advice: advice)
  }

  /// A sentence after file, line, document and field.
  func located(_ node: Node?, _ field: String, _ sentence: String) -> String {
    let line = node?.mark.map { ":\($0.line)" } ?? ""
    let which = document > 1 ? " (document \(document))" : ""
    return "\(file)\(line)\(which): \(field.isEmpty ? "" : field + ": ")\(sentence)"
  }

  // MARK: A document

  private mutating func manifest(_ node: Node) throws(ManifestError) -> Manifest {
    // It has fields of its own, and is known by its kind before they are looked at.
    if let kind = node.mapping?["kind"], kind.string == "Event" {
      throw fail(kind, "kind", "an Event tells what has happened, and is no object that can be declared")
    }
    let flat = node.mapping?["kind"]?.string.flatMap(KindSchema.find).flatMap { $0.isFlat ? $0.spec : nil }
    let fields = try mapping(
      node, "", ["apiVersion", "kind", "metadata"] + (flat.map { $0.map(\.name) } ?? ["spec", "status"]))
    guard let version = fields["apiVersion"]?.value.string else {
      throw fail(node, "apiVersion", "it is missing", advice: "write apiVersion: \(APIVersion.current)")
    }
    if let weave = WeaveVersion(apiVersion: version) {
      return try weaveManifest(node, fields.mapValues(\.value), weave)
    }
    guard version == APIVersion.current || (flat != nil && version == "v1") else {
      throw fail(
        fields["apiVersion"]?.value, "apiVersion", "\"\(Self.short(version))\" is not known",
        advice: "write \(APIVersion.current)")
    }
    guard let kind = fields["kind"]?.value.string else {
      throw fail(node, "kind", "it is missing", advice: "write one of \(Self.kinds)")
    }
    guard let schema = KindSchema.find(kind: kind) else {
      let near = EditDistance.nearest(to: kind, in: KindSchema.all.map(\.kind))
      throw fail(
        fields["kind"]?.value, "kind", "\"\(Self.short(kind))\" is not known",
        advice: near.map { "did you mean \($0)?" } ?? "write one of \(Self.kinds)")
    }
    guard let metadata = fields["metadata"]?.value else {
      throw fail(node, "metadata", "it is missing", advice: "give the object a name: metadata: {name: …}")
    }
    let meta = try mapping(
      metadata, "metadata",
      [
        "name", "namespace", "labels", "annotations", "uid", "generation", "resourceVersion", "creationTimestamp",
        "ownerReferences", "finalizers", "deletionTimestamp",
      ])
    guard let name = meta["name"]?.value.string else { throw fail(metadata, "metadata.name", "it is missing") }
    if let problem = schema.problem(withName: name) {
      throw fail(meta["name"]?.value, "metadata.name", "\"\(Self.short(name))\" cannot be taken: \(problem)")
    }
    if let namespace = meta["namespace"]?.value, namespace.string != "default" {
      throw fail(namespace, "metadata.namespace", "there is no namespace but default", advice: "leave it out")
    }
    var given: JSONValue
    if let flat {
      given = .object([:])
      for field in flat {
        guard let item = fields[field.name]?.value else { continue }
        given[field.name] = try value(item, field.name, field.shape, depth: 1)
      }
      given = try normalized(given, schema, node, "")
    } else {
      guard let spec = fields["spec"]?.value else { throw fail(node, "spec", "it is missing") }
      given = try value(spec, "spec", .record(schema.spec), depth: 0)
    }
    var manifest = Manifest(
      place: "\(file):\(node.mark?.line ?? 1)", kind: kind,
      name: kind == HostKind.image ? HostKind.canonical(name) : name,
      labels: try texts(meta["labels"]?.value, "metadata.labels"),
      annotations: try texts(meta["annotations"]?.value, "metadata.annotations"), given: given)
    if let version = meta["resourceVersion"]?.value, version.string != "" {
      guard let number = version.string.flatMap({ Int64($0) }), number >= 0 else {
        throw fail(
          version, "metadata.resourceVersion", "it is no version of an object",
          advice: "leave it as ignite get prints it, or out")
      }
      (manifest.resourceVersion, manifest.uid) = (number, meta["uid"]?.value.string)
    }
    return manifest
  }

  private func normalized(
    _ given: JSONValue, _ schema: KindSchema, _ node: Node, _ path: String
  ) throws(ManifestError) -> JSONValue {
    let (spec, field, problem) = schema.normalized(given)
    guard let spec else { throw fail(node, path + Self.short(field), problem) }
    return spec
  }

  private static var kinds: String { KindSchema.all.map(\.kind).joined(separator: ", ") }

  static func short(_ text: String) -> String {
    text.unicodeScalars.count > 60 ? String(text.unicodeScalars.prefix(60).map(Character.init)) + "…" : text
  }

  /// A mapping's fields, all of them known.
  private mutating func mapping(
    _ node: Node, _ path: String, _ known: [String]
  ) throws(ManifestError) -> [String: (key: Node, value: Node)] {
    guard let mapping = node.mapping else { throw fail(node, path, "it is no mapping") }
    var fields: [String: (key: Node, value: Node)] = [:]
    for (key, value) in mapping {
      try count(key, path)
      guard let name = key.string, known.contains(name) else {
        let name = key.string.map(Self.short) ?? "?"
        let near = EditDistance.nearest(to: name, in: known)
        throw fail(
          key, path.isEmpty ? name : "\(path).\(name)", "there is no such field",
          advice: near.map { "did you mean \($0)?" } ?? "known are \(known.joined(separator: ", "))")
      }
      guard fields.updateValue((key, value), forKey: name) == nil else {
        throw fail(key, path.isEmpty ? name : "\(path).\(name)", "it stands twice")
      }
      if leavesOutEmpty, Self.isEmpty(value) { fields[name] = nil }
    }
    return fields
  }

  /// Whether it is null, or a mapping without a field.
  static func isEmpty(_ node: Node) -> Bool {
    switch node {
    case .scalar(let scalar): scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    case .mapping(let mapping): mapping.isEmpty
    default: false
    }
  }

  private mutating func count(_ node: Node, _ path: String) throws(ManifestError) {
    values += 1
    guard values <= ManifestLimits.values else {
      throw fail(
        node, path, "the document has more than \(ManifestLimits.values) values, those that anchors repeat among them")
    }
  }

  private mutating func texts(_ node: Node?, _ path: String) throws(ManifestError) -> [String: String] {
    guard let node, case .object(let fields) = try value(node, path, .map, depth: 0) else { return [:] }
    return fields.compactMapValues(\.string)
  }

  // MARK: Values

  mutating func value(
    _ node: Node, _ path: String, _ shape: Shape, depth: Int
  ) throws(ManifestError) -> JSONValue {
    try count(node, path)
    guard depth < ManifestLimits.depth else { throw fail(node, path, "it nests too deep") }
    // Made for what is wrong only: a manifest has many values.
    func wrong() -> ManifestError { fail(node, path, "it is not \(shape.expectation)") }
    switch shape {
    case .text:
      // A number or a flag that is not quoted is text where text is wanted.
      guard let text = node.scalar?.string, !text.contains("\0") else { throw wrong() }
      return .string(text)
    case .word(let words):
      guard let text = node.scalar?.string, words.contains(text) else {
        let near = node.scalar.flatMap { EditDistance.nearest(to: $0.string, in: words) }
        throw fail(
          node, path, "\"\(Self.short(node.scalar?.string ?? "?"))\" is not one of \(shape.expectation)",
          advice: near.map { "did you mean \($0)?" })
      }
      return .string(text)
    case .whole(let range):
      guard let number = node.int.flatMap({ Int64(exactly: $0) }), range.contains(number) else { throw wrong() }
      return .integer(number)
    case .flag:
      guard let flag = node.bool else { throw wrong() }
      return .bool(flag)
    case .size:
      guard let size = node.scalar.flatMap({ ByteQuantity(manifest: $0.string) }) else { throw wrong() }
      return .string(size.description)
    case .custom(_, let read):
      guard let value = node.scalar.flatMap({ read($0.string) }) else { throw wrong() }
      return value
    case .seconds, .milliseconds:
      guard let text = node.scalar?.string, let span = Self.milliseconds(text) else { throw wrong() }
      if case .milliseconds = shape { return .integer(span) }
      guard span % 1000 == 0 else { throw fail(node, path, "it is no whole number of seconds") }
      return .integer(span / 1000)
    case .list(let element):
      guard let items = node.sequence else { throw wrong() }
      var values: [JSONValue] = []
      for (index, item) in items.enumerated() {
        values.append(try value(item, "\(path)[\(index)]", element, depth: depth + 1))
      }
      return .array(values)
    case .map:
      guard let mapping = node.mapping else { throw wrong() }
      var fields: [String: JSONValue] = [:]
      for (key, item) in mapping {
        guard let name = key.scalar?.string, !name.isEmpty else { throw fail(key, path, "a key is no text") }
        guard
          fields.updateValue(try value(item, "\(path).\(Self.short(name))", .text, depth: depth + 1), forKey: name)
            == nil
        else { throw fail(key, "\(path).\(Self.short(name))", "it stands twice") }
      }
      return .object(fields)
    case .binaryMap:
      var fields = try value(node, path, .map, depth: depth).fields
      for (key, item) in fields {
        // Lines of base64 may be broken, as base64(1) breaks them.
        let text = (item.string ?? "").filter { !$0.isWhitespace }
        guard let data = Data(base64Encoded: text) else {
          throw fail(node, "\(path).\(Self.short(key))", "it is not base64")
        }
        fields[key] = .string(data.base64EncodedString())
      }
      return .object(fields)
    case .object(let kinds): return try object(node, path, kinds, depth: depth)
    case .record(let known):
      let given = try mapping(node, path, known.map(\.name))
      var fields: [String: JSONValue] = [:]
      for field in known {
        guard let item = given[field.name]?.value else {
          if field.isRequired { throw fail(node, "\(path).\(field.name)", "it is missing") }
          continue
        }
        fields[field.name] = try value(item, "\(path).\(field.name)", field.shape, depth: depth + 1)
      }
      return .object(fields)
    }
  }

  /// An object inside another one.
  private mutating func object(
    _ node: Node, _ path: String, _ kinds: [String], depth: Int
  ) throws(ManifestError) -> JSONValue {
    let fields = try mapping(node, path, ["kind", "name", "labels", "annotations", "dependsOn", "spec"])
    guard let kind = fields["kind"]?.value else {
      throw fail(node, "\(path).kind", "it is missing", advice: "write one of \(kinds.joined(separator: ", "))")
    }
    guard let schema = try value(kind, "\(path).kind", .word(kinds), depth: depth + 1).string.flatMap(KindSchema.find)
    else { throw fail(kind, "\(path).kind", "it is not known") }
    guard let name = fields["name"]?.value else { throw fail(node, "\(path).name", "it is missing") }
    if let problem = ObjectName.problem(with: name.string ?? "") {
      throw fail(name, "\(path).name", "\"\(Self.short(name.string ?? "?"))\" cannot be taken: \(problem)")
    }
    guard let spec = fields["spec"]?.value else { throw fail(node, "\(path).spec", "it is missing") }
    var object: [String: JSONValue] = ["kind": .string(schema.kind), "name": .string(name.string ?? "")]
    for field in ["labels", "annotations"] {
      if let texts = fields[field]?.value {
        object[field] = try value(texts, "\(path).\(field)", .map, depth: depth + 1)
      }
    }
    if let others = fields["dependsOn"]?.value {
      object["dependsOn"] = try value(others, "\(path).dependsOn", .list(.text), depth: depth + 1)
    }
    let given = try value(spec, "\(path).spec", .record(schema.spec), depth: depth + 1)
    object["spec"] = try normalized(given, schema, spec, "\(path).spec.")
    return .object(object)
  }

  /// `500ms`, `90s`, `1m30s`, `2h`; nil for anything else, and for more than a year.
  public static func milliseconds(_ text: String) -> Int64? {
    var (rest, total, last) = (Substring(text), Int64(0), 5)
    let units: [(String, Int64, Int)] = [("ms", 1, 0), ("s", 1000, 1), ("m", 60_000, 2), ("h", 3_600_000, 3)]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(digits.count)
      guard let number = Int64(digits), number < 1 << 40, let unit = units.first(where: { rest.hasPrefix($0.0) }),
        unit.2 < last
      else { return nil }
      rest = rest.dropFirst(unit.0.count)
      last = unit.2
      total += number * unit.1
      guard total <= 31_536_000_000 else { return nil }
    }
    return total
  }
}
