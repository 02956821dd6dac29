internal import ArgumentParser
internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

struct GetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "List objects, or print them as manifests: get vms, get vm web -o yaml.",
    discussion: "What -o yaml and -o json print can be applied again; events tell what has happened, and cannot.")

  enum Format: String, CaseIterable { case table, wide, yaml, json, name }

  @OptionGroup var global: GlobalOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("table, wide, yaml, json or name.", valueName: "format"),
    completion: .list(Format.allCases.map(\.rawValue)))
  var format: String = "table"

  @Option(
    name: [.customShort("l"), .customLong("selector")],
    help: ArgumentHelp("Only those with these labels: app=shop,tier!=db,env in (a,b),!old.", valueName: "selector"))
  var selector: String?

  @Option(
    help: ArgumentHelp(
      "Only those with these fields: metadata.name=web,status.phase!=Running; what cannot be a field is answered with what can.",
      valueName: "selector"),
    completion: .list(Set((KindSchema.all.flatMap(\.selectableFields) + EventRows.fields).map { $0 + "=" }).sorted()))
  var fieldSelector: String?

  @Option(
    help: ArgumentHelp(
      "A field that they are sorted by, as metadata.creationTimestamp; usually the name, of events the last time.",
      valueName: "field"))
  var sortBy: String?

  @Option(
    name: .customLong("for"), help: ArgumentHelp("Of events: those of one object, as vm/web.", valueName: "object"))
  var about: String?

  @Flag(
    name: [.customShort("w"), .customLong("watch")],
    help: "Go on, and print each object that changes, until interrupted; of table, wide and name.")
  var watch = false

  @Argument(
    help: "A kind: vm, vmset, app, volume, configmap, secret, image or kernel; or events.",
    completion: .list(KindSchema.all.flatMap(\.names) + ["events"]))
  var kind: String

  @Argument(help: "Names; none is all.")
  var names: [String] = []

  func run() async throws {
    guard let format = Format(rawValue: format) else {
      throw EngineError(
        .invalidArgument, "--output \(format) is not possible", advice: "write table, wide, yaml, json or name")
    }
    if fieldSelector != nil, !names.isEmpty {
      throw ValidationError("--field-selector chooses among all objects of a kind; leave the names out")
    }
    if EventRows.names.contains(kind.lowercased()) { return try await events(format) }
    if about != nil { throw ValidationError("--for is of events: get events --for vm/web") }
    let schema = try ObjectNames.schema(kind)
    if watch, ![.table, .wide, .name].contains(format) {
      throw ValidationError("--watch prints lines: -o table, wide or name")
    }
    let selector = try selector.map(ObjectNames.selector)
    let fields = try fieldSelector.map {
      try ObjectNames.fields($0, of: schema.kind, schema.selectableFields).requirements
    }
    var rows = ObjectRows(controller: Controller(engine: try await global.engine()), schema: schema)
    rows.fields = fields ?? []
    rows.isBrief =
      [.table, .name].contains(format) && (sortBy ?? "metadata.name") == "metadata.name"
      && rows.fields.allSatisfy { !$0.path.hasPrefix("status.") || ObjectRows.briefFields.contains($0.path) }
    let all = try await rows.read()
    let names = names.map { ObjectNames.whole($0, schema.kind) }
    for name in names where !all.contains(where: { $0.name == name }) {
      throw EngineError(
        .notFound, "there is no \(schema.kind) \"\(name)\"", advice: "list them: ignite get \(schema.names[1])")
    }
    let items = chosen(all, names, selector)
    switch format {
    case .json:
      // One by its name is itself, as kubectl has it.
      if names.count == 1, let first = items.first {
        try Output.json(first.manifest)
      } else {
        try Output.json(items.map(\.manifest))
      }
    case .yaml: FileHandleOutput.standardOutput.write(try ManifestWriter.yaml(items.map(\.manifest)))
    case .name, .table, .wide:
      printed(items, rows, format, heads: true)
      if watch { try await follow(items, rows, names, selector, format) }
    }
  }

  private func chosen(_ all: [ObjectRows.Row], _ names: [String], _ selector: LabelSelector?) -> [ObjectRows.Row] {
    let path = (sortBy ?? "metadata.name").split(separator: ".").map(String.init)
    return all.filter { (names.isEmpty || names.contains($0.name)) && selector?.suits($0.labels) ?? true }
      .sorted { Self.key($0.manifest, path) < Self.key($1.manifest, path) }
  }

  private func printed(_ items: [ObjectRows.Row], _ rows: ObjectRows, _ format: Format, heads: Bool) {
    if format == .name {
      for item in items { Output.line("\(rows.schema.names[0])/\(item.name)") }
      return
    }
    let (cells, wide) = rows.heads
    var table = Table(format == .wide ? cells + wide : cells)
    for item in items { table.add(format == .wide ? item.cells + item.wide : item.cells) }
    let text = table.text()
    FileHandleOutput.standardOutput.write(
      heads ? text : text.split(separator: "\n").dropFirst().map { $0 + "\n" }.joined())
  }

  /// Prints what changes from now on; of what was removed its last line, and of what is not among the chosen any more the line
  /// that it has now, as kubectl does.
  private func follow(
    _ first: [ObjectRows.Row], _ rows: ObjectRows, _ names: [String], _ selector: LabelSelector?, _ format: Format
  ) async throws {
    var last = Dictionary(first.map { ($0.name, $0) }) { one, _ in one }
    while true {
      try await rows.nextChange()
      let now = chosen(try await rows.read(), names, selector)
      let changed = now.filter { last[$0.name]?.key != $0.key }
      printed(changed, rows, format, heads: false)
      let chosen = Set(now.map(\.name))
      let gone = last.values.filter { !chosen.contains($0.name) }.sorted { $0.name < $1.name }
      if !gone.isEmpty {
        var unchosen = rows
        unchosen.fields = []
        let there = Dictionary(try await unchosen.read().map { ($0.name, $0) }) { one, _ in one }
        printed(gone.map { there[$0.name] ?? $0.ended }, rows, format, heads: false)
      }
      last = Dictionary(now.map { ($0.name, $0) }) { one, _ in one }
    }
  }

  /// Numbers by their size, everything else by its text.
  static func key(_ value: JSONValue, _ path: [String]) -> (Int64, String) {
    switch path.reduce(Optional(value), { $0?[$1] }) {
    case .integer(let number)?: (number, "")
    case .string(let text)?: (0, text)
    default: (0, "")
    }
  }
}
