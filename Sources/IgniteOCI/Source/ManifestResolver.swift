/// Follows indexes to the one manifest for a platform, the same way for every source.
struct ManifestResolver {
  let platform: Platform
  /// Fetches a manifest or an index; its bytes need no verification yet.
  let fetch: (Descriptor) async throws(OCIError) -> [UInt8]

  /// - Parameters:
  ///   - root: what a reference leads to: a descriptor without a known size has `size` set from the bytes.
  ///   - bytes: its content, already compared with the digest.
  func resolve(root: Descriptor, bytes: [UInt8]) async throws(OCIError) -> ResolvedImage {
    var descriptor = root
    var bytes = bytes
    var indexes: [(descriptor: Descriptor, bytes: [UInt8])] = []
    while true {
      let declared = descriptor.mediaType.isEmpty ? nil : descriptor.mediaType
      switch try ManifestDocument(bytes, declared: declared) {
      case .manifest(let manifest, let mediaType):
        descriptor.mediaType = mediaType
        return ResolvedImage(descriptor: descriptor, bytes: bytes, manifest: manifest, indexes: indexes)
      case .index(let index, let mediaType):
        guard indexes.count < Limits.indexDepth else {
          throw OCIError(.limitExceeded, "more than \(Limits.indexDepth) indexes are nested")
        }
        descriptor.mediaType = mediaType
        indexes.append((descriptor, bytes))
        descriptor = try Self.select(from: index.manifests, for: platform)
        try Self.checkSize(descriptor)
        bytes = try await fetch(descriptor)
        try Self.verify(bytes, descriptor)
      }
    }
  }

  static func checkSize(_ descriptor: Descriptor) throws(OCIError) {
    guard descriptor.size <= Int64(Limits.manifestSize) else {
      throw OCIError(
        .limitExceeded,
        "manifest \(descriptor.digest.short) is said to have \(descriptor.size) bytes, more than "
          + "\(Limits.manifestSize)")
    }
  }

  static func verify(_ bytes: [UInt8], _ descriptor: Descriptor) throws(OCIError) {
    guard descriptor.digest.algorithm == .sha256 else { throw .unsupportedAlgorithm(descriptor.digest) }
    guard Int64(bytes.count) == descriptor.size else {
      throw OCIError(
        .sizeMismatch,
        "manifest \(descriptor.digest.short) has \(bytes.count) bytes where its descriptor says \(descriptor.size)",
        advice: "push the image again")
    }
    let digest = Digest.sha256(of: bytes)
    guard digest == descriptor.digest else {
      throw OCIError(
        .digestMismatch, "manifest \(descriptor.digest.short) has the digest \(digest.short)",
        advice: "push the image again")
    }
  }

  /// The best entry of an index for a platform.
  ///
  /// Entries that say no platform count only where no other suits and there is one of them: its configuration tells
  /// later. An entry that is no manifest or index, or is for `unknown/unknown` (an attestation), never counts.
  static func select(from manifests: [Descriptor], for platform: Platform) throws(OCIError) -> Descriptor {
    let candidates = manifests.filter {
      $0.mediaType.isEmpty || MediaType.isManifest($0.mediaType) || MediaType.isIndex($0.mediaType)
    }
    var best: (descriptor: Descriptor, suitability: Int)?
    for descriptor in candidates {
      guard let suitability = descriptor.platform?.suitability(for: platform) else { continue }
      if suitability > best?.suitability ?? -1 { best = (descriptor, suitability) }
    }
    if let best { return best.descriptor }
    let unsaid = candidates.filter { $0.platform.map { $0.os.isEmpty && $0.architecture.isEmpty } ?? true }
    if unsaid.count == 1 { return unsaid[0] }

    var platforms: [String] = []
    for descriptor in candidates {
      guard let platform = descriptor.platform, platform.os != "unknown" else { continue }
      let text = OCIError.quoted(platform.description, limit: 40)
      if !platforms.contains(text) { platforms.append(text) }
    }
    let has = platforms.isEmpty ? "names no platform" : "has \(platforms.prefix(20).joined(separator: ", "))"
    throw OCIError(
      .noSuitablePlatform, "the image has nothing for \(platform): its index \(has)",
      advice: platforms.isEmpty ? nil : "choose another image, or build it for \(platform)")
  }
}

extension OCIError {
  static func unsupportedAlgorithm(_ digest: Digest) -> OCIError {
    OCIError(
      .unsupported, "content \(digest.short) is named by \(digest.algorithm.rawValue), which is not supported",
      advice: "push the image again with sha256 digests")
  }
}
