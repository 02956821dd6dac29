internal import FoundationEssentials
internal import IgniteOCI

/// The images that a `docker save` archive lists in its `manifest.json` (Docker image specification 1.2, Combined Image
/// JSON + Filesystem Changeset Format). Docker, Podman and skopeo write it; that of Docker 25 and later holds an OCI
/// layout besides, whose blobs the list names.
struct DockerArchive: Sendable {
  static let manifestName = "manifest.json"

  struct Entry: Decodable, Sendable {
    let config: String
    let tags: [String]
    let layers: [String]

    private enum CodingKeys: String, CodingKey {
      case config = "Config"
      case tags = "RepoTags"
      case layers = "Layers"
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      config = try container.decode(String.self, forKey: .config)
      tags = try container.decodeIfPresent([String].self, forKey: .tags) ?? []
      layers = try container.decodeIfPresent([String].self, forKey: .layers) ?? []
    }
  }

  private let entries: [Entry]

  init(_ bytes: [UInt8]) throws(ImageError) {
    do throws(OCIError) {
      entries = try decodeDocument([Entry].self, bytes, Self.manifestName)
    } catch {
      throw ImageError(error)
    }
  }

  /// The image that `image` names, or the only one.
  ///
  /// - Parameters:
  ///   - image: a reference, or `@` and a number that counts from 0.
  ///   - source: the source without that, for advice.
  func choose(_ image: String?, source: String) throws(ImageError) -> (entry: Entry, name: Reference?) {
    guard !entries.isEmpty else { throw ImageError(.notFound, "the archive holds no image") }
    if let image, image.hasPrefix("@") {
      guard let index = Int(image.dropFirst()), entries.indices.contains(index) else {
        throw ImageError(.notFound, "the archive has no image \(displayName(image.utf8))", advice: "it has \(listed)")
      }
      return (entries[index], entries[index].name)
    }
    if let image {
      let wanted = try? Reference(image)
      guard let entry = entries.first(where: { $0.tags.contains { (try? Reference($0)) == wanted } }) else {
        throw ImageError(
          .notFound, "the archive has no image named \(displayName(image.utf8))", advice: "it has \(listed)")
      }
      return (entry, wanted)
    }
    guard entries.count == 1 else {
      throw ImageError(
        .notFound, "the archive holds \(entries.count) images, and nothing says which",
        advice: "write \(source):NAME:TAG or \(source):@INDEX with one of \(listed)")
    }
    return (entries[0], entries[0].name)
  }

  private var listed: String {
    let shown = entries.prefix(20).enumerated().map { index, entry in
      entry.tags.isEmpty ? "@\(index)" : entry.tags.prefix(5).map { displayName($0.utf8) }.joined(separator: ", ")
    }
    return shown.joined(separator: ", ") + (entries.count > 20 ? ", …" : "")
  }
}

extension DockerArchive.Entry {
  /// The first of its names that is a reference.
  var name: Reference? { tags.lazy.compactMap { try? Reference($0) }.first }

  /// Makes an OCI manifest of what the archive has: the same archive gives the same bytes. A layer that is a plain tar,
  /// as Docker's are, has its diff ID as its digest.
  ///
  /// - Returns: the manifest, and where each of its blobs is.
  func resolve(
    in table: ArchiveTable, _ interruption: StreamInterruption
  ) throws(ImageError) -> (image: ResolvedImage, blobs: [Digest: ArchiveContent]) {
    guard layers.count <= Limits.layerCount else {
      throw ImageError(.limitExceeded, "the image has more than \(Limits.layerCount) layers")
    }
    let configContent = try table.file(config)
    let configBytes = try configContent.bytes(limit: Limits.configSize, "the image's configuration")
    let configDigest = Digest.sha256(of: configBytes)
    let base = config.split(separator: "/").last.map { $0.hasSuffix(".json") ? $0.dropLast(5) : $0 } ?? ""
    if let named = Digest("sha256:\(base)"), named != configDigest {
      throw ImageError(
        .corrupt, "the configuration \(displayName(config.utf8)) has the digest \(configDigest.short)",
        advice: "the archive is damaged: make it again")
    }
    let diffIDs: [Digest]
    do throws(OCIError) {
      diffIDs = try ImageConfig(json: configBytes).diffIDs
    } catch {
      throw ImageError(error)
    }
    guard diffIDs.count == layers.count else {
      throw ImageError(
        .corrupt, "its manifest.json lists \(layers.count) layers and the image's configuration \(diffIDs.count)",
        advice: "make the archive again")
    }
    var blobs = [configDigest: configContent]
    var descriptors: [Descriptor] = []
    for (position, (layer, diffID)) in zip(layers, diffIDs).enumerated() {
      do throws(ImageError) {
        let content = try table.file(layer)
        let descriptor = try Self.descriptor(content, diffID, interruption)
        descriptors.append(descriptor)
        blobs[descriptor.digest] = content
      } catch {
        throw error.code == .cancelled ? error : error.of("layer \(position + 1)")
      }
    }
    let manifest = Manifest(
      config: Descriptor(
        mediaType: MediaType.ociConfig, digest: configDigest, size: Int64(configBytes.count)),
      layers: descriptors)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(manifest) else {
      throw ImageError(.corrupt, "no manifest can be made of the image")
    }
    let bytes = [UInt8](data)
    let descriptor = Descriptor(
      mediaType: MediaType.ociManifest, digest: Digest.sha256(of: bytes), size: Int64(bytes.count))
    return (ResolvedImage(descriptor: descriptor, bytes: bytes, manifest: manifest), blobs)
  }

  private static func descriptor(
    _ content: ArchiveContent, _ diffID: Digest, _ interruption: StreamInterruption
  ) throws(ImageError) -> Descriptor {
    let type: String
    switch Compression.detect(try content.head()) {
    case .none:
      // One that is read in place is compared while it is imported.
      if case .part = content {
      } else {
        let digest = try content.digest(interruption)
        guard digest == diffID else {
          throw ImageError(
            .corrupt, "it has the digest \(digest.short) where the image's configuration says \(diffID.short)",
            advice: "the archive is damaged: make it again")
        }
      }
      return Descriptor(mediaType: MediaType.ociLayer, digest: diffID, size: content.size)
    case .gzip: type = MediaType.ociLayerGzip
    case .zstd: type = MediaType.ociLayerZstd
    case .xz, .bzip2:
      throw ImageError(
        .unsupported, "it is packed with xz or bzip2, which is not supported for layers",
        advice: "make the archive again with gzip layers or plain ones")
    }
    return Descriptor(mediaType: type, digest: try content.digest(interruption), size: content.size)
  }
}
