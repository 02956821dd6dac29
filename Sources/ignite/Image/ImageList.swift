internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI

struct ImageList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ls", abstract: "List images.", aliases: ["list"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print image IDs only.")
  var quiet = false

  @Flag(name: .customLong("no-trunc"), help: "Print whole IDs.")
  var whole = false

  @Flag(name: .customLong("digests"), help: "Show the manifests' digests.")
  var digests = false

  @Flag(name: [.customShort("a"), .customLong("all")], help: "Accepted for docker's sake: there are no hidden images.")
  var all = false

  @Option(
    name: [.customShort("f"), .customLong("filter")], parsing: .singleValue,
    help: ArgumentHelp(
      "Only what fits: reference=GLOB, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME.", valueName: "filter"))
  var filters: [String] = []

  @Option(
    help: ArgumentHelp("table, json, or a template of docker's as '{{.Repository}}:{{.Tag}}'.", valueName: "format"),
    completion: .list(["table", "json"]))
  var format: String = "table"

  @Argument(help: "Only the image of that name, or all tags of that repository.", completion: .images)
  var repository: String?

  private static let fields = [
    "Repository", "Tag", "Digest", "ID", "CreatedAt", "CreatedSince", "ImportedSince", "Size", "Platform", "Name",
  ]

  func run() async throws {
    let engine = try await global.engine()
    let records = try await engine.imageRecords()
    let wanted = filters + (repository.map { ["reference=\($0)"] } ?? [])
    let filter = try await ImageFilter(wanted, find: engine.inspectImage)
    // The newest first, as docker lists them.
    let shown = records.filter(filter.suits).sorted { ImageFilter.made($0) > ImageFilter.made($1) }
    if quiet {
      for record in shown { Output.line(id(record.image)) }
      return
    }
    switch format {
    case "json": try Output.json(shown)
    case "table": FileHandleOutput.standardOutput.write(table(shown))
    default:
      FileHandleOutput.standardOutput.write(try Template(format, fields: Self.fields).render(shown.map(values)))
    }
  }

  private func id(_ image: ImportedImage) -> String {
    whole ? image.manifestDigest.description : String(image.manifestDigest.hex.prefix(12))
  }

  private func table(_ records: [ImageRecord]) -> String {
    var table = Table(["REPOSITORY", "TAG"] + (digests ? ["DIGEST"] : []) + ["IMAGE ID", "CREATED", "SIZE"])
    for record in records {
      let values = values(record)
      table.add(
        (["Repository", "Tag"] + (digests ? ["Digest"] : []) + ["ID", "CreatedSince", "Size"]).map { values[$0] ?? "" })
    }
    return table.text()
  }

  private func values(_ record: ImageRecord) -> [String: String] {
    let image = record.image
    let reference = try? Reference(image.name)
    let familiar = ImageNames.familiar(image.name)
    let suffix = (reference?.tag.map { ":\($0)" } ?? "") + (reference?.digest.map { "@\($0)" } ?? "")
    let now = Date()
    return [
      "Repository": String(familiar.dropLast(suffix.count)), "Tag": reference?.tag ?? "<none>",
      "Digest": image.manifestDigest.description, "ID": id(image), "CreatedAt": image.created ?? "",
      "CreatedSince": Output.span(now.timeIntervalSince(ImageFilter.made(record))) + " ago",
      "ImportedSince": Output.span(now.timeIntervalSince(record.imported)) + " ago",
      "Size": ByteQuantity(bytes: UInt64(max(0, image.diskUsage))).rounded, "Platform": image.platform.description,
      "Name": familiar,
    ]
  }
}
