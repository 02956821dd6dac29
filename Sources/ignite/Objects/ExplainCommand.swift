internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

struct ExplainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Say what the fields of a manifest mean: explain vm.spec.resources.")

  @Flag(help: "Fields within fields too.")
  var recursive = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("text, or schema: JSON Schema of the kind's manifests, for editors.", valueName: "format"),
    completion: .list(["text", "schema"]))
  var format: String = "text"

  @Argument(
    help: "A kind, with a field behind a dot: vm, volume, vm.spec.restart.",
    completion: .list(
      KindSchema.all.flatMap { schema in [schema.names[0]] + schema.spec.map { "\(schema.names[0]).spec.\($0.name)" } })
  )
  var path: String

  func run() async throws {
    let words = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let names = KindSchema.all.flatMap(\.names)
    guard let schema = KindSchema.all.first(where: { $0.names.contains(words[0].lowercased()) }) else {
      let near = EditDistance.nearest(to: words[0], in: names)
      throw EngineError(
        .notFound, "no kind is named \"\(words[0])\"",
        advice: near.map { "did you mean \($0)?" }
          ?? "known are \(KindSchema.all.map { $0.names[0] }.joined(separator: ", "))")
    }
    switch format {
    case "schema": return try Output.json(schema.jsonSchema)
    case "text": break
    default: throw ValidationError("--output \(format) is neither text nor schema")
    }
    guard let field = schema.field(at: Array(words.dropFirst())) else { throw missing(words, schema) }
    Output.line("KIND:     \(schema.kind)")
    Output.line("VERSION:  \(APIVersion.current)")
    if words.count > 1 { Output.line("FIELD:    \(words.dropFirst().joined(separator: ".")) <\(field.shape.title)>") }
    Output.line("\n\(field.help)")
    guard let fields = field.shape.fields else { return }
    var table = Table(["FIELD", "TYPE", "DEFAULT", "MEANING"])
    var defaults = schema.defaults
    for name in words.dropFirst(2) { defaults = defaults[name] ?? .object([:]) }
    add(fields, words.count > 1 ? defaults : .object(["spec": schema.defaults]), "", to: &table)
    Output.line("")
    FileHandleOutput.standardOutput.write(table.text())
  }

  private func add(_ fields: [Field], _ defaults: JSONValue, _ indent: String, to table: inout Table) {
    for field in fields {
      let standard = field.isRequired ? "required" : KindSchema.text(defaults[field.name] ?? field.standard) ?? ""
      table.add([indent + field.name, field.shape.title, standard, field.help])
      if recursive, let inner = field.shape.fields {
        add(inner, defaults[field.name] ?? .object([:]), indent + "  ", to: &table)
      }
    }
  }

  private func missing(_ words: [String], _ schema: KindSchema) -> EngineError {
    var (known, there) = ([String](), [words[0]])
    for word in words.dropFirst() {
      known = schema.field(at: Array(there.dropFirst()))?.shape.fields?.map(\.name) ?? []
      if !known.contains(word) {
        let near = EditDistance.nearest(to: word, in: known)
        return EngineError(
          .notFound, "\(there.joined(separator: ".")) has no field \"\(word)\"",
          advice: near.map { "did you mean \($0)?" }
            ?? (known.isEmpty ? nil : "known are \(known.joined(separator: ", "))"))
      }
      there.append(word)
    }
    return EngineError(.notFound, "there is no field \(path)")
  }
}
