public import FoundationEssentials
public import IgniteAPI
public import IgniteImages
public import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

/// An image's record: what was imported, and when.
public struct ImageRecord: Codable, Sendable {
  public var image: ImportedImage
  public var imported: Date
  /// What it was imported from; nil in records of older versions.
  public var source: String?
  /// Whether its layers are kept beside its base disk; nil, as in older records, means that they are.
  public var keepsLayers: Bool?

  public init(image: ImportedImage, imported: Date) {
    self.image = image
    self.imported = imported
  }
}

extension Engine {
  static let imageKind = "Image"

  /// Imports an image under its own or the given name; one that is there already is brought up to date.
  ///
  /// - Parameters:
  ///   - pull: whether what is here will do; by default a registry is asked, and what has changed is fetched.
  ///   - platform: the image's; nil for this machine's.
  public func importImage(
    _ source: String, name: String? = nil, pull: PullPolicy = .always, platform: Platform? = nil,
    keepsLayers: Bool? = nil, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> ImportedImage {
    try Self.checkSystem(platform)
    let given = source
    let keepsLayers = keepsLayers ?? configuration.images.keepBlobs
    let reference = try ImageSourceReference(source)
    let named = try name.map { (text) throws(OCIError) in try Reference(text) }
    // What is in an archive, and under which name, is known when it is read.
    let expected = reference.namesItsImage ? try named ?? reference.defaultName() : named
    if let image = try await imageAtHand(
      expected?.description, reference, pull, platform, keepsLayers: keepsLayers, progress)
    {
      if keepsLayers { try await recordLayers(of: image) }
      return image
    }
    let source = try await imageSource(reference, store: contentStore, progress: progress)
    defer { source.close() }
    let name = try named ?? (source as? ArchiveSource)?.defaultName ?? reference.defaultName()
    return try await cleaningUp(keepsLayers: keepsLayers) {
      try await ImageImporter(
        root: paths.data, limits: configuration.images.limits, syncs: configuration.images.sync
      ).importImage(
        source: source, name: name.description, platform: platform ?? .host, keepsLayers: keepsLayers,
        progress: progress,
        record: { try await recordImage($0, source: given, keepsLayers: keepsLayers) })
    }
  }

  /// The source that a reference names.
  ///
  /// - Parameter store: takes what has to be read before it is known what of it is needed.
  func imageSource(
    _ reference: ImageSourceReference, store: ContentStore, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> any ImageSource {
    switch reference {
    case .registry(let reference): RegistrySource(reference, client: registries)
    case .layout(let path, let tag): LayoutSource(path: path, tag: tag)
    case .archive, .dockerDaemon, .standardInput:
      try await ArchiveSource.open(reference, store: store, environment: environment, progress: progress)
    }
  }

  /// The image of a VM: the one that is here, or a fresh import, by the policy.
  func image(
    _ source: String, pull: PullPolicy, platform: Platform? = nil,
    progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws -> ImportedImage {
    let namesItsImage = (try? ImageSourceReference(source))?.namesItsImage ?? true
    let known = namesItsImage ? try await imageRecord(source)?.image : nil
    if pull == .missing || pull == .never, let known, hasDisk(known) {
      // Named by its digits or its name, it is that image and no other.
      guard let platform else { return try Self.runnable(known) }
      if Self.serves(known, platform) { return known }
    }
    if pull == .never { throw Self.absent(source, platform, here: known) }
    return try await importImage(source, pull: pull, platform: platform, progress: progress)
  }

  /// The record of an image by source or name, or by at least four digits of its manifest's or config's digest.
  func imageRecord(_ query: String) async throws -> ImageRecord? {
    let reference = try? ImageSourceReference(query)
    if let name = try? reference?.defaultName().description,
      let object = try await store.get(kind: Self.imageKind, namespace: "", name: name)
    {
      return try Self.imageRecord(of: object)
    }
    let digits = query.hasPrefix("sha256:") ? String(query.dropFirst(7)) : query
    guard digits.count >= 4, digits.allSatisfy({ $0.isHexDigit }) else { return nil }
    let matching = try await imageRecords().filter {
      $0.image.manifestDigest.hex.hasPrefix(digits) || $0.image.configDigest.hex.hasPrefix(digits)
    }
    guard Set(matching.map(\.image.manifestDigest)).count <= 1 else {
      throw EngineError(.ambiguous, "several images' digests begin with \(digits)", advice: "give more digits")
    }
    return matching.first
  }

  /// An image's name as it is kept: `nginx` is `docker.io/library/nginx:latest`; nil for what names none.
  public func imageName(_ source: String) -> String? { try? ImageSourceReference(source).defaultName().description }

  /// All images, by time of import.
  public func imageRecords() async throws -> [ImageRecord] {
    try await store.list(kind: Self.imageKind).map(Self.imageRecord(of:))
  }

  /// The image's record; throws where there is none.
  public func inspectImage(_ query: String) async throws -> ImageRecord {
    guard let record = try await imageRecord(query) else {
      throw EngineError(.notFound, "no image is named \"\(query)\"", advice: "list them with `ignite image ls`")
    }
    return record
  }

  private func recordImage(_ image: ImportedImage, source: String, keepsLayers: Bool) async throws {
    var record = ImageRecord(image: image, imported: Date())
    record.source = source
    record.keepsLayers = keepsLayers ? nil : false
    try await write(record)
    await note(Event("image", "import", id: image.name, attributes: ["digest": image.manifestDigest.description]))
  }

  func write(_ record: ImageRecord) async throws {
    try await put(kind: Self.imageKind, name: record.image.name, status: try Self.encode(record))
  }

  func hasDisk(_ image: ImportedImage) -> Bool { contentStore.hasBaseDisk(image.disk) }

  private static func imageRecord(of object: StoredObject) throws -> ImageRecord {
    do {
      return try APICoding.decoder().decode(ImageRecord.self, from: object.status)
    } catch {
      throw EngineError(
        .unavailable, "the record of the image \"\(object.name)\" cannot be read",
        advice: "was it written by a newer ignite?",
        cause: error)
    }
  }
}
