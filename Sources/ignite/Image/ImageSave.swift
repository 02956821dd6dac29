internal import ArgumentParser
internal import IgniteEngine
internal import IgniteImages

struct ImageSave: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "save", abstract: "Write images to an archive that docker, podman and skopeo read.",
    discussion: """
      Several images go into one archive, and what they share is in it once. oci-archive holds the layers as they came; \
      docker-archive holds them unpacked, as `docker load` takes it.
      """)

  @OptionGroup var global: GlobalOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The file; - is standard output.", valueName: "file"), completion: .file())
  var output: String = "-"

  @Option(
    help: ArgumentHelp("oci-archive or docker-archive.", valueName: "format"),
    completion: .list(ImageArchive.Format.allCases.map(\.rawValue)))
  var format: String = "oci-archive"

  @Argument(help: "Names, or digests' first digits.", completion: .images)
  var images: [String]

  func run() async throws {
    guard let format = ImageArchive.Format(rawValue: format) else {
      throw EngineError(
        .invalidArgument, "--format \(format) is not possible", advice: "write oci-archive or docker-archive")
    }
    let file = output == "-" ? nil : output
    if file == nil && Terminal.isTerminal(1) {
      throw EngineError(
        .invalidArgument, "an archive is nothing for a terminal", advice: "give a file with -o, or pipe it on")
    }
    try await Interrupts.run { _ in try await global.engine().saveImages(images, as: format, to: file) }
  }
}
