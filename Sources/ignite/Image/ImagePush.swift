internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteOCI
internal import Synchronization

struct ImagePush: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "push", abstract: "Bring an image to a registry, as it was imported.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: "A name, or a digest's first digits.", completion: .images)
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

/// What a push says on standard error: a line for each blob that is there, one for the manifest; a large blob has one for
/// each tenth of it too.
final class PushLines: Sendable {
  private let write: @Sendable (String) -> Void
  /// The last tenth that was told, by blob.
  private let tenths = Mutex<[Digest: Int64]>([:])

  /// Blobs that have fewer bytes are sent before anybody wonders.
  private static let large: Int64 = 16 << 20

  init(write: @escaping @Sendable (String) -> Void = { FileHandleOutput.standardError.write($0 + "\n") }) {
    self.write = write
  }

  func take(_ event: RegistryPush.Progress) {
    switch event {
    case .sending(let blob, let done):
      guard blob.size >= Self.large, done < blob.size else { return }
      let tenth = done / max(1, blob.size / 10)
      let isNew = tenths.withLock { tenths in
        guard tenth > tenths[blob.digest] ?? 0 else { return false }
        tenths[blob.digest] = tenth
        return true
      }
      if isNew { write("\(title(blob)) … \(tenth * 10) %") }
    case .blob(let blob, let outcome):
      let what =
        switch outcome {
        case .sent: "sent"
        case .present: "already there"
        case .mounted: "taken from another repository"
        }
      write("\(title(blob)) … \(what)")
    case .manifest(let digest): write("manifest \(digest.short) … sent")
    }
  }

  private func title(_ blob: Descriptor) -> String {
    "\(blob.digest.short) \(ByteQuantity(bytes: UInt64(max(0, blob.size))).rounded)"
  }
}
