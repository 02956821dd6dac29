internal import FoundationEssentials
internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Files that hold images, as other tools read them.
public enum ImageArchive {
  /// What the archive is.
  public enum Format: String, Sendable, CaseIterable {
    /// A tar of an OCI image layout: the blobs as they are.
    case oci = "oci-archive"
    /// What `docker save` writes: the layers unpacked.
    case docker = "docker-archive"
  }

  /// Writes images to a descriptor front to back, in bounded memory and without a copy on disk; what is written is
  /// compared with its digest on the way.
  ///
  /// - Parameters:
  ///   - images: with all their blobs in the store. Several names of one image, and layers that images share, are
  ///     written once.
  ///   - name: what `descriptor` is, for messages.
  /// - Throws: `corrupt` where a blob is damaged, `notFound` where one is missing, `io`, `cancelled`.
  public static func write(
    _ images: [ImportedImage], from store: ContentStore, as format: Format, to descriptor: Int32, name: String
  ) async throws(ImageError) {
    let blobs = images.reduce(into: Set<Digest>()) { $0.formUnion($1.blobs) }
    try await Cancellation.blocking(name: "ignite-save") { (cancellation) throws(ImageError) in
      let lease = try Lease.take(store, blobs: blobs, disk: "-")
      defer { lease.release() }
      let output = try ArchiveOutput(descriptor, name: name, cancellation: cancellation)
      let writer = ImageArchiveWriter(store: store, tar: TarStreamWriter(output))
      switch format {
      case .oci: try writer.writeLayout(images)
      case .docker: try writer.writeDocker(images)
      }
    }
  }
}

/// One archive under way. Blocking.
private struct ImageArchiveWriter {
  let store: ContentStore
  let tar: TarStreamWriter

  // MARK: OCI (image-layout.md)

  func writeLayout(_ images: [ImportedImage]) throws(ImageError) {
    let tags = images.compactMap { (try? Reference($0.name))?.tag }
    var entries: [Descriptor] = []
    for image in images {
      let manifest = try manifest(of: image)
      var entry = Descriptor(
        mediaType: manifest.mediaType ?? MediaType.ociManifest, digest: image.manifestDigest,
        size: try store.size(of: image.manifestDigest), platform: image.platform)
      // As containerd and docker write it: the tag where it is unmistakable, and the whole name beside it.
      if let reference = try? Reference(image.name), let tag = reference.tag {
        let isUnique = tags.count { $0 == tag } == 1
        entry.annotations["org.opencontainers.image.ref.name"] = isUnique ? tag : reference.description
        entry.annotations["io.containerd.image.name"] = reference.description
      }
      entries.append(entry)
    }
    try tar.file("oci-layout", Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
    try tar.file("index.json", try json(Index(manifests: entries)))
    try tar.directory("blobs")
    try tar.directory("blobs/sha256")
    var written: Set<Digest> = []
    for image in images {
      for digest in [image.manifestDigest, image.configDigest] + image.layers.map(\.digest)
      where written.insert(digest).inserted {
        let size = try store.size(of: digest)
        try copy(digest, of: image, "blobs/sha256/\(digest.hex)", size: UInt64(size), try store.open(digest))
      }
    }
    try tar.finish()
  }

  // MARK: docker (moby's image specification v1.2, Combined Image JSON + Filesystem Changeset Format)

  private struct Entry: Encodable {
    var config: String
    var tags: [String]?
    var layers: [String]

    enum CodingKeys: String, CodingKey {
      case config = "Config"
      case tags = "RepoTags"
      case layers = "Layers"
    }
  }

  func writeDocker(_ images: [ImportedImage]) throws(ImageError) {
    var entries: [Entry] = []
    var written: Set<Digest> = []
    for image in images {
      let name = (try? Reference(image.name)).flatMap { reference in reference.tag.map { "\(reference.name):\($0)" } }
      let config = "\(image.configDigest.hex).json"
      if let index = entries.firstIndex(where: { $0.config == config }) {
        if let name, entries[index].tags?.contains(name) != true {
          entries[index].tags = (entries[index].tags ?? []) + [name]
        }
        continue
      }
      try tar.file(config, try store.read(image.configDigest, limit: Limits.configSize))
      for (layer, diffID) in zip(image.layers, image.config.diffIDs) where written.insert(diffID).inserted {
        try unpack(layer, diffID, of: image)
      }
      let layers = image.config.diffIDs.map { "\($0.hex).tar" }
      entries.append(Entry(config: config, tags: name.map { [$0] }, layers: layers))
    }
    try tar.file("manifest.json", try json(entries))
    try tar.finish()
  }

  /// A tar's header tells the length ahead, and a packed layer does not know it: it is unpacked twice.
  private func unpack(_ layer: Descriptor, _ diffID: Digest, of image: ImportedImage) throws(ImageError) {
    do throws(ImageError) {
      let unpacked = try Compression.unpacked(store.open(layer.digest), limit: .max)
      let size = unpacked.compression == .none ? UInt64(layer.size) : try unpacked.source.drain()
      try copy(
        diffID, of: image, "\(diffID.hex).tar", size: size,
        try Compression.unpacked(store.open(layer.digest), limit: .max).source)
    } catch {
      throw error.code == .corrupt ? damaged(layer.digest, of: image, error) : error
    }
  }

  /// Copies a stream whose digest is known, and compares it.
  private func copy(
    _ digest: Digest, of image: ImportedImage, _ name: String, size: UInt64, _ source: any ByteSource
  ) throws(ImageError) {
    let content = HashedByteSource(source)
    try tar.file(name, size: size, content)
    guard content.digest == digest else { throw damaged(digest, of: image, nil) }
  }

  private func damaged(_ digest: Digest, of image: ImportedImage, _ cause: (any Error)?) -> ImageError {
    ImageError(
      .corrupt, "\(image.name): its content \(digest.short) in the store is damaged, and the archive is of no use",
      advice: "mend the image: ignite image verify --repair \(image.name)", cause: cause)
  }

  private func manifest(of image: ImportedImage) throws(ImageError) -> Manifest {
    let bytes = try store.read(image.manifestDigest, limit: Limits.manifestSize)
    do {
      return try JSONDecoder().decode(Manifest.self, from: Data(bytes))
    } catch {
      throw damaged(image.manifestDigest, of: image, error)
    }
  }

  private func json(_ value: some Encodable) throws(ImageError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do { return [UInt8](try encoder.encode(value)) } catch {
      throw ImageError(.io, "cannot encode the archive's index", cause: error)
    }
  }
}
