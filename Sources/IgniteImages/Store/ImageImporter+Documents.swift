internal import IgniteOCI
internal import IgniteSystem

extension ImageImporter {
  /// Refuses what no import can do anything with, before anything is fetched.
  static func check(_ resolved: ResolvedImage, _ name: String) throws(ImageError) {
    let manifest = resolved.manifest
    guard MediaType.isImageConfig(manifest.config.mediaType) || manifest.config.mediaType.isEmpty else {
      throw ImageError(
        .unsupported, "\(name) is no image: its configuration is of the type \(printable(manifest.config.mediaType))",
        advice: "name an image, not another kind of artifact")
    }
    guard manifest.config.size <= Int64(Limits.configSize) else {
      throw ImageError(
        .limitExceeded,
        "the configuration of \(name) is said to have \(manifest.config.size) bytes, more than "
          + "\(Limits.configSize)")
    }
    guard manifest.layers.count <= Limits.layerCount else {
      throw ImageError(.limitExceeded, "\(name) has more than \(Limits.layerCount) layers")
    }
    for (position, layer) in manifest.layers.enumerated() {
      let subject = layerSubject(position, layer, of: name)
      if MediaType.isNondistributable(layer.mediaType) || !layer.urls.isEmpty {
        throw ImageError(
          .unsupported,
          "\(subject): it is kept elsewhere than in the registry (a foreign layer), which is not supported",
          advice: "push the image again with all its layers")
      }
      guard layer.mediaType.isEmpty || MediaType.layerCompression(layer.mediaType) != nil else {
        throw ImageError(.unsupported, "\(subject): its type \(printable(layer.mediaType)) is no layer's")
      }
      guard layer.size <= longestLayer else {
        throw ImageError(
          .limitExceeded, "\(subject): it is said to have \(layer.size) bytes, more than \(longestLayer)")
      }
    }
  }

  /// The most bytes of a layer as it is transferred: 64 GiB.
  private static let longestLayer: Int64 = 64 << 30

  /// Puts the manifest and the indexes that led to it into the store.
  func putDocuments(_ resolved: ResolvedImage) async throws(ImageError) {
    try await blocking { () throws(ImageError) in
      for index in resolved.indexes { try store.put(index.bytes, as: index.descriptor.digest) }
      try store.put(resolved.bytes, as: resolved.descriptor.digest)
    }
  }

  /// Fetches the configuration and compares it with the manifest and the platform.
  func configuration(
    _ resolved: ResolvedImage, from source: any ImageSource, platform: Platform
  ) async throws(ImageError) -> ImageConfig {
    let descriptor = resolved.manifest.config
    let subject = "the configuration of \(source.name) (\(descriptor.digest.short))"
    _ = try await BlobIngest.run(IngestingBlob(descriptor), from: source, to: store, subject: subject) { _ in }
    let config: ImageConfig
    do throws(OCIError) {
      let bytes = try await readConfig(descriptor.digest)
      config = try ImageConfig(json: bytes)
    } catch {
      if let cause = error.cause as? ImageError { throw cause }
      throw ImageError(error).of(source.name)
    }
    guard config.diffIDs.count == resolved.manifest.layers.count else {
      throw ImageError(
        .corrupt,
        "\(source.name): its manifest lists \(resolved.manifest.layers.count) layers and its configuration "
          + "\(config.diffIDs.count)", advice: "build and push the image again")
    }
    guard config.diffIDs.allSatisfy({ $0.algorithm == .sha256 }) else {
      throw ImageError(.unsupported, "\(source.name): its configuration names layers by another digest than sha256")
    }
    guard config.platform.suits(platform) else {
      throw ImageError(
        .unsupported, "\(source.name) is for \(Self.printable(config.platform.description)), not for \(platform)",
        advice: "choose another image, or build it for \(platform)")
    }
    return config
  }

  private func readConfig(_ digest: Digest) async throws(OCIError) -> [UInt8] {
    do throws(ImageError) {
      return try await blocking { () throws(ImageError) in try store.read(digest, limit: Limits.configSize) }
    } catch {
      throw OCIError(.fileSystem, error.message, cause: error)
    }
  }

  /// Text from an image made fit for a message.
  static func printable(_ text: String) -> String {
    String(text.unicodeScalars.prefix(120).map { $0.value >= 0x20 && $0.value < 0x7f ? Character($0) : "?" })
  }
}
