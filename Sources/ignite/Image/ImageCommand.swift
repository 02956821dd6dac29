internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

struct ImageCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "image", abstract: "Import, list, name, save, push, check and remove images.",
    subcommands: [
      ImageImport.self, ImageList.self, ImageInspect.self, ImageHistory.self, ImageTag.self, ImageSave.self,
      ImagePush.self,
      ImageVerify.self, ImageRemove.self, ImagePrune.self,
    ])
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

  @OptionGroup var pulling: PullOptions

  @Flag(
    name: .customLong("keep-blobs"),
    help: "Keep the layers whatever images.keepBlobs says, and fetch those that are not here.")
  var keepsBlobs = false

  @Argument(help: ArgumentHelp(ImageNames.sources, valueName: "source"))
  var source: String

  func run() async throws {
    let (pull, platform) = (try pulling.policy(default: .always), try pulling.platformOrNil())
    let image = try await Interrupts.run { _ in
      let engine = try await global.engine()
      return try await withImportProgress { progress in
        try await engine.importImage(
          source, name: name, pull: pull, platform: platform, keepsLayers: keepsBlobs ? true : nil, progress: progress)
      }
    }
    Output.line("\(image.name)@\(image.manifestDigest)")
  }
}

struct ImageInspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print all that is known of images, as JSON.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "Names, or digests' first digits.", completion: .images)
  var images: [String]

  func run() async throws {
    let engine = try await global.engine()
    try Output.json(try await images.asyncMap { try await engine.inspectImage($0) })
  }
}
