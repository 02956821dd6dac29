internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI

struct ImageHistory: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Show the steps that an image was made of, the last one first.")

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print image IDs only.")
  var quiet = false

  @Flag(name: .customLong("no-trunc"), help: "Print whole IDs and commands.")
  var whole = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  @Argument(help: "A name, or a digest's first digits.", completion: .images)
  var image: String

  /// A step; docker's fields.
  struct Step: Encodable {
    var id: String
    var created: String?
    var createdBy: String
    /// Bytes of the layer as it is transferred; 0 where the step made none.
    var size: Int64
    var comment: String
  }

  func run() async throws {
    let format = try ListFormat(checking: format)
    let steps = Self.steps(of: try await global.engine().inspectImage(image).image, whole: whole)
    if quiet {
      for step in steps { Output.line(step.id) }
      return
    }
    switch format {
    case .json: try Output.json(steps)
    case .table:
      var table = Table(["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"])
      let now = Date()
      for step in steps {
        let made = step.created.flatMap(TimeSpan.date).map { Output.span(now.timeIntervalSince($0)) + " ago" }
        table.add([
          step.id, made ?? "N/A", whole ? step.createdBy : Self.cut(step.createdBy),
          ByteQuantity(bytes: UInt64(max(0, step.size))).rounded, step.comment,
        ])
      }
      FileHandleOutput.standardOutput.write(table.text())
    }
  }

  /// The steps, last first. Layers that the history does not tell of are listed without it.
  static func steps(of image: ImportedImage, whole: Bool) -> [Step] {
    var layers = image.layers.reversed()[...]
    var steps: [Step] = []
    for entry in image.config.history.reversed() {
      let layer = entry.emptyLayer ? nil : layers.popFirst()
      steps.append(
        Step(
          id: "<missing>", created: entry.created, createdBy: entry.createdBy ?? "", size: layer?.size ?? 0,
          comment: entry.comment ?? ""))
    }
    for layer in layers {
      steps.append(Step(id: "<missing>", created: nil, createdBy: "", size: layer.size, comment: ""))
    }
    if steps.isEmpty { steps = [Step(id: "", created: image.created, createdBy: "", size: 0, comment: "")] }
    steps[0].id = whole ? image.manifestDigest.description : String(image.manifestDigest.hex.prefix(12))
    return steps
  }

  private static func cut(_ text: String) -> String { text.count > 45 ? text.prefix(44) + "…" : text }
}
