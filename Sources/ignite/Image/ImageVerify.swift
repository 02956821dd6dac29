internal import ArgumentParser
internal import IgniteEngine
internal import IgniteImages

struct ImageVerify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Compare images with their digests, and base disks with their layers.",
    discussion: """
      Every blob is read and compared with its size and digest, every layer unpacked and compared with its diff ID, and the \
      base disk compared, byte for byte, with a fresh one. That needs as much free space as the disk takes.
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(name: .customLong("repair"), help: "Fetch damaged blobs again, and build a damaged base disk again.")
  var repair = false

  @Argument(help: "Names, or digests' first digits.", completion: .images)
  var images: [String]

  func run() async throws {
    try await Interrupts.run { _ in
      let engine = try await global.engine()
      try await forEachQuery(images) { query in
        let (image, damage) =
          repair
          ? try await withImportProgress { try await engine.verifyImage(query, repair: true, progress: $0) }
          : try await engine.verifyImage(query)
        let name = ImageNames.familiar(image.name)
        guard damage.isEmpty else {
          throw EngineError(
            .unavailable, "\(name) is damaged: \(damage.map(\.text).joined(separator: "; "))",
            advice: repair ? "remove it and import it again" : "mend it: ignite image verify --repair \(name)")
        }
        return "\(name): \(image.blobs.count) blobs and the base disk are whole"
      }
    }
  }
}
