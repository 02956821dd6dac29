internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

struct ImageCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "image", abstract: "Import, list and remove images.",
    subcommands: [ImageImport.self, ImageList.self, ImageRemove.self, ImageInspect.self])
}

/// Image names as people write them.
enum ImageNames {
  /// What can be named as the source of an image.
  static let sources = """
    A reference (registry/name:tag), oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], \
    docker-daemon:NAME[:TAG], or - for an archive from standard input.
    """

  static func familiar(_ canonical: String) -> String { (try? Reference(canonical))?.familiar ?? canonical }
}

struct ImageImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Fetch an image and make its base disk.", aliases: ["pull"])

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("The name that the image gets here.", valueName: "reference"))
  var name: String?

  @Argument(help: ArgumentHelp(ImageNames.sources, valueName: "source"))
  var source: String

  func run() async throws {
    let image = try await Interrupts.run { _ in
      let engine = try await global.engine()
      return try await withImportProgress { progress in
        try await engine.importImage(source, name: name, progress: progress)
      }
    }
    Output.line("\(image.name)@\(image.manifestDigest)")
  }
}

struct ImageList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "ls", abstract: "List images.", aliases: ["list"])

  @OptionGroup var global: GlobalOptions

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Print digests only.")
  var quiet = false

  @Flag(name: .customLong("no-trunc"), help: "Print whole digests.")
  var whole = false

  @Option(help: ArgumentHelp("table or json.", valueName: "format"))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    let records = try await global.engine().imageRecords()
    func id(_ image: ImportedImage) -> String {
      whole ? image.manifestDigest.description : String(image.manifestDigest.hex.prefix(12))
    }
    if quiet {
      for record in records { Output.line(id(record.image)) }
      return
    }
    switch format {
    case .json: try Output.json(records)
    case .table:
      var table = Table(["IMAGE", "IMAGE ID", "PLATFORM", "IMPORTED", "SIZE", "ON DISK"])
      for record in records {
        table.add([
          ImageNames.familiar(record.image.name), id(record.image), record.image.platform.description,
          Output.span(Date().timeIntervalSince(record.imported)) + " ago",
          ByteQuantity(bytes: UInt64(max(0, record.image.size))).rounded,
          ByteQuantity(bytes: UInt64(max(0, record.image.diskUsage))).rounded,
        ])
      }
      FileHandleOutput.standardOutput.write(table.text())
    }
  }
}

struct ImageRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove images that no VM uses.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names, or digests' first digits.")
  var images: [String]

  func run() async throws {
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachQuery(images) { ImageNames.familiar(try await engine.removeImage($0).name) }
    }
  }
}

struct ImageInspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print all that is known of images, as JSON.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names, or digests' first digits.")
  var images: [String]

  func run() async throws {
    let engine = try await global.engine()
    try Output.json(try await images.asyncMap { try await engine.inspectImage($0) })
  }
}
