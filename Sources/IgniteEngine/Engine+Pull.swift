internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

extension Engine {
  /// The image that is here under a name, where the policy is content with it.
  func imageAtHand(
    _ name: String?, _ reference: ImageSourceReference, _ pull: PullPolicy, _ platform: Platform?,
    keepsLayers: Bool = true, _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> ImportedImage? {
    var known: ImportedImage?
    if let name { known = try await imageRecord(name)?.image }
    let image = known.flatMap { hasDisk($0) && Self.serves($0, platform ?? .host) ? $0 : nil }
    switch (pull, image) {
    case (.never, nil): throw Self.absent(reference.description, platform, here: known)
    case (_, nil): return nil
    case (.missing, let image?), (.never, let image?): return image
    case (.always, let image?), (.newer, let image?):
      // What is no registry has its manifest at hand; what was lost of the image is fetched again.
      guard case .registry(let reference) = reference, isWhole(image, layers: keepsLayers) else { return nil }
      progress(.resolving(reference.description))
      do throws(OCIError) {
        let digest = try await RegistrySource(reference, client: registries).currentDigest()
        guard let digest, digest == image.manifestDigest || digest == image.indexDigest else { return nil }
        progress(.reusedDisk)
        return image
      } catch {
        guard pull == .newer, error.code != .cancelled else { throw error }
        return image
      }
    }
  }

  private func isWhole(_ image: ImportedImage, layers: Bool) -> Bool {
    let store = contentStore
    let needed = layers ? image.blobs : image.blobs.subtracting(image.layers.map(\.digest))
    return needed.allSatisfy { store.has($0) }
  }

  /// Whether an image is for a platform. Where a variant is asked for, what is here may not be the best of its index.
  static func serves(_ image: ImportedImage, _ platform: Platform) -> Bool {
    image.platform.suits(platform) && (platform.variant == nil || platform.variant == image.platform.variant)
  }

  static func absent(_ source: String, _ platform: Platform?, here: ImportedImage?) -> EngineError {
    if let here, let platform, !here.platform.suits(platform) {
      return EngineError(
        .notFound,
        "the image \(source) is here for \(here.platform), not for \(platform), and --pull never forbids to fetch it",
        advice: "import it: ignite image import --platform \(platform) \(source)")
    }
    return EngineError(
      .notFound, "the image \(source) is not on this machine, and --pull never forbids to fetch it",
      advice: "import it: ignite image import \(source)")
  }

  /// Refuses a platform that no VM of this machine has, before anything is fetched.
  static func checkRuns(_ platform: Platform?, of image: String) throws {
    guard let platform, !platform.suits(.host) else { return }
    throw EngineError(
      .invalidArgument, "\(image) for \(platform) cannot run: VMs of this machine are \(Platform.host)",
      advice: "leave out --platform, or import it only: ignite image import --platform \(platform) \(image)")
  }

  static func checkSystem(_ platform: Platform?) throws {
    guard let platform, platform.os.lowercased() != "linux" else { return }
    throw EngineError(
      .invalidArgument, "images for \(platform) cannot be imported: the files of Linux images only make a disk",
      advice: "write --platform linux/ARCHITECTURE")
  }

  static func runnable(_ image: ImportedImage) throws -> ImportedImage {
    guard image.platform.suits(.host) else {
      throw EngineError(
        .wrongState,
        "the image \(image.name) is here for \(image.platform), and VMs of this machine are \(Platform.host)",
        advice: "import it for this machine: ignite image import --platform \(Platform.host) \(image.name)")
    }
    return image
  }
}
