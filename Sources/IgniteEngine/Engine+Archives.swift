internal import Glibc
public import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

extension Engine {
  /// Writes images to a file or, without one, to standard output.
  ///
  /// A file appears when it is whole; one that cannot be renamed onto, such as a device, is written in place.
  public func saveImages(_ queries: [String], as format: ImageArchive.Format, to file: String?) async throws {
    var images: [ImportedImage] = []
    for query in queries {
      let record = try await inspectImage(query)
      try requireBlobs(of: record, for: "save")
      images.append(record.image)
    }
    guard let file else {
      return try await ImageArchive.write(images, from: contentStore, as: format, to: 1, name: "standard output")
    }
    var status = stat()
    let isSpecial = stat(file, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    guard !isSpecial else {
      let output = try FileDescriptor.open(file, O_WRONLY)
      return try await ImageArchive.write(images, from: contentStore, as: format, to: output.number, name: file)
    }
    let partial = "\(file).\(getpid()).partial"
    let output = try FileDescriptor.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644)
    let folder = file.lastIndex(of: "/").map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? "."
    let space = await ThreadExecutor.run { HostSpace(below: folder) }
    do {
      try await ImageArchive.write(images, from: contentStore, as: format, to: output.number, name: file)
      guard rename(partial, file) == 0 else { throw SystemError("make \(file)") }
    } catch {
      unlink(partial)
      let needed = images.reduce(Int64(0)) { $0 + $1.size }
      guard let full = ImageError.wantOfSpace(error) else { throw error }
      throw full.explained(file, before: space, needed: needed)
    }
  }

  /// Refuses what needs all of an image's blobs where they are not kept or not here, and says how to bring them back.
  ///
  /// - Parameter purpose: what they are needed for: `save`.
  public func requireBlobs(of record: ImageRecord, for purpose: String) throws {
    let image = record.image
    let store = contentStore
    let needed = image.layers.map(\.digest) + [image.configDigest, image.manifestDigest]
    guard let missing = needed.first(where: { !store.has($0) }) else { return }
    let why =
      record.keepsLayers == false
      ? "it was imported to keep no layers (images.keepBlobs)" : "\(missing.short) is gone"
    throw EngineError(
      .notFound, "the blobs of \(image.name), which \(purpose) needs, are not here: \(why)",
      advice: "bring them back: \(importCommand(record))")
  }

  /// The command that imports the image again, with its layers.
  private func importCommand(_ record: ImageRecord) -> String {
    let name = record.image.name
    guard let source = record.source, (try? ImageSourceReference(source).defaultName().description) != name else {
      return "ignite image import --keep-blobs \(record.source ?? name)"
    }
    return "ignite image import --keep-blobs --name \(name) \(source)"
  }

  /// Compares an image with itself, and mends it where asked: damaged blobs are fetched again, a damaged base disk is
  /// built again.
  ///
  /// - Returns: what is damaged; after mending, what still is.
  public func verifyImage(
    _ query: String, repair: Bool = false, progress: @escaping @Sendable (ImportProgress) -> Void = { _ in }
  ) async throws -> (image: ImportedImage, damage: [ImageDamage]) {
    let record = try await inspectImage(query)
    if !repair && record.keepsLayers == false { try requireBlobs(of: record, for: "verify") }
    let damage = try await contentStore.verify(record.image, mendsDisk: repair)
    guard repair, !damage.isEmpty else { return (record.image, damage) }
    let blobs = damage.compactMap { damage -> Digest? in
      if case .blob(let digest) = damage.part { digest } else { nil }
    }
    if !blobs.isEmpty {
      let store = contentStore
      try await ThreadExecutor.run { () throws(ImageError) in
        for digest in blobs { try store.remove(digest) }
      }
      _ = try await importImage(
        try sameImage(record), name: record.image.name, platform: record.image.platform, keepsLayers: true,
        progress: progress)
    }
    // A disk is built of whole layers only, so it comes last.
    var after = try await inspectImage(record.image.name)
    after.source = record.source
    try await write(after)
    _ = try await contentStore.verify(after.image, mendsDisk: true)
    return (after.image, try await contentStore.verify(after.image))
  }

  /// Where the very same image comes from, whatever its tag names today.
  private func sameImage(_ record: ImageRecord) throws -> String {
    let source = record.source ?? record.image.name
    guard case .registry(let reference) = try ImageSourceReference(source) else { return source }
    return reference.with(digest: record.image.indexDigest ?? record.image.manifestDigest).description
  }
}
