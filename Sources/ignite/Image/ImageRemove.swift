internal import ArgumentParser
internal import IgniteEngine
internal import IgniteImages

struct ImageRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rm", abstract: "Remove images that no VM uses.",
    discussion: "Of an image with several names only the name given is removed.", aliases: ["remove"])

  @OptionGroup var global: GlobalOptions

  @Flag(
    name: [.customShort("f"), .customLong("force")],
    help: "Also those that VMs were made from; the VMs keep their disks.")
  var force = false

  @Argument(help: "Names, or digests' first digits.", completion: .images)
  var images: [String]

  func run() async throws {
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachQuery(images) { ImageNames.familiar(try await engine.removeImage($0, force: force).image.name) }
    }
  }
}

struct ImageTag: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tag", abstract: "Give an image one more name.",
    discussion: "A name that another image had is taken from it.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "The image: a name, or a digest's first digits.", completion: .images)
  var image: String

  @Argument(help: "The new name; without a tag it is latest.")
  var name: String

  func run() async throws {
    _ = try await global.engine().tagImage(image, as: name)
  }
}
