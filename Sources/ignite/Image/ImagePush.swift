internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteOCI

struct ImagePush: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "push", abstract: "Bring an image to a registry, as it was imported.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "A name, or a digest's first digits.")
  var image: String

  @Argument(help: "A reference (registry/name:tag); the image's own name when it is absent.")
  var destination: String?

  func run() async throws {
    let pushed = try await Interrupts.run { _ in
      let lines = PushLines()
      return try await global.engine().pushImage(image, to: destination) { lines.take($0) }
    }
    Output.line(pushed.description)
  }
}

/// What a push says on standard error: a line for each blob that is there, one for the manifest.
final class PushLines: Sendable {
  private let write: @Sendable (String) -> Void

  init(write: @escaping @Sendable (String) -> Void = { FileHandleOutput.standardError.write($0 + "\n") }) {
    self.write = write
  }

  func take(_ event: RegistryPush.Progress) {
    switch event {
    case .sending: break
    case .blob(let blob, let outcome):
      let what =
        switch outcome {
        case .sent: "sent"
        case .present: "already there"
        case .mounted: "taken from another repository"
        }
      write("\(blob.digest.short) \(ByteQuantity(bytes: UInt64(max(0, blob.size))).rounded) … \(what)")
    case .manifest(let digest): write("manifest \(digest.short) … sent")
    }
  }
}
