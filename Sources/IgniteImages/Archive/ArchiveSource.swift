internal import Glibc
public import IgniteOCI
internal import IgniteSystem
internal import Synchronization

/// An image of an archive: a file, standard input, or what the Docker daemon gives out.
///
/// A plain file is indexed and read in place. Anything that cannot be read twice, a packed file among it, is read to its
/// end first: its larger members become files below the content store's `ingest`, and those that the image needs then
/// become blobs without being copied.
public final class ArchiveSource: ImageSource {
  public let name: String
  /// What the image is called by the archive itself, or by what its user named it by.
  public let defaultName: Reference

  private enum Image: Sendable {
    case oci(LayoutImages)
    case docker(DockerArchive.Entry)
  }

  private let table: ArchiveTable
  private let image: Image
  private let store: ContentStore
  private let interruption: StreamInterruption
  private let state = Mutex(State())

  private struct State {
    /// Where the blobs of a resolved image are.
    var blobs: [Digest: ArchiveContent] = [:]
    /// Keeps those that became blobs of the store before the import says that it needs them.
    var leases: [Lease] = []
  }

  /// - Throws: what reading the archive or choosing an image of it fails with.
  init(
    _ reference: ImageSourceReference, table: ArchiveTable, store: ContentStore, _ interruption: StreamInterruption
  ) throws(ImageError) {
    name = reference.description
    self.table = table
    self.store = store
    self.interruption = interruption
    var given: String?
    var format: ImageSourceReference.ArchiveFormat = table.has(DockerArchive.manifestName) ? .docker : .oci
    var source = "\(format.rawValue):FILE"
    if case .archive(let wanted, let path, let image) = reference {
      format = wanted
      given = image
      source = "\(wanted.rawValue):\(path)"
    }
    switch format {
    case .docker:
      guard table.has(DockerArchive.manifestName) else {
        throw Self.noImages(table, wanted: "docker save's", "oci-archive")
      }
      let bytes = try table.file(DockerArchive.manifestName).bytes(
        limit: Limits.manifestSize, DockerArchive.manifestName)
      let (entry, name) = try DockerArchive(bytes).choose(given, source: source)
      image = .docker(entry)
      if let name {
        defaultName = name
      } else {
        do throws(OCIError) { defaultName = try Self.fallback(reference, bytes) } catch { throw ImageError(error) }
      }
    case .oci:
      guard table.has(LayoutImages.markerName), table.has(LayoutImages.indexName) else {
        throw Self.noImages(table, wanted: "an OCI", "docker-archive")
      }
      let marker = try table.file(LayoutImages.markerName).bytes(
        limit: LayoutImages.markerSize, LayoutImages.markerName)
      let index = try table.file(LayoutImages.indexName).bytes(limit: Limits.manifestSize, LayoutImages.indexName)
      do throws(OCIError) {
        let images = try LayoutImages(
          marker: marker, index: index, place: "the archive", source: source, name: reference.description, tag: given)
        image = .oci(images)
        if let name = images.reference {
          defaultName = name
        } else {
          defaultName = try Self.fallback(reference, index, tag: images.onlyTag)
        }
      } catch {
        throw ImageError(error)
      }
    }
  }

  private static func noImages(_ table: ArchiveTable, wanted: String, _ other: String) -> ImageError {
    let isOther = table.has(other == "oci-archive" ? LayoutImages.indexName : DockerArchive.manifestName)
    if isOther {
      return ImageError(.corrupt, "it is not \(wanted) archive", advice: "name it \(other):FILE")
    }
    return ImageError(
      .corrupt, "it is no archive of an image: it has neither manifest.json nor oci-layout and index.json",
      advice: "was it cut short? make it with docker save, podman save or skopeo copy")
  }

  /// The name where the archive has none: by the file's name; of a stream, by what its list of images is.
  private static func fallback(
    _ reference: ImageSourceReference, _ list: [UInt8], tag: String? = nil
  ) throws(OCIError) -> Reference {
    switch reference {
    case .standardInput: return try Reference("localhost/image:\(Digest.sha256(of: list).hex.prefix(12))")
    case .archive(let format, let path, let image):
      let chosen = image.flatMap { $0.hasPrefix("@") ? nil : $0 } ?? tag
      return try ImageSourceReference.archive(format, path: path, image: chosen).defaultName()
    case .registry, .layout, .dockerDaemon: return try reference.defaultName()
    }
  }

  deinit { close() }

  public func close() {
    let leases = state.withLock { state in
      defer { state.leases = [] }
      return state.leases
    }
    for lease in leases { lease.release() }
    for file in table.spooled { file.file.remove() }
  }

  public func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    do throws(OCIError) {
      return try await find(platform)
    } catch {
      throw error.message.hasPrefix(name) ? error : error.prefixed(name)
    }
  }

  private func find(_ platform: Platform) async throws(OCIError) -> ResolvedImage {
    let resolved: ResolvedImage
    switch image {
    case .docker(let entry):
      let (image, blobs) = try await blocking { () throws(ImageError) in
        try entry.resolve(in: self.table, self.interruption)
      }
      state.withLock { $0.blobs.merge(blobs) { $1 } }
      resolved = image
    case .oci(let images):
      resolved = try await images.resolve(platform: platform) { (descriptor) throws(OCIError) in
        try await self.blocking { () throws(ImageError) in
          try self.blob(descriptor).bytes(limit: Limits.manifestSize, "the manifest \(descriptor.digest.short)")
        }
      }
    }
    try await blocking { () throws(ImageError) in try self.takeOver(resolved) }
    return resolved
  }

  public func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    let content = try await blocking { () throws(ImageError) in
      let content = try self.blob(descriptor)
      guard content.size == descriptor.size else {
        throw ImageError(
          .corrupt,
          "the blob has \(content.size) bytes in the archive where its descriptor says \(descriptor.size)",
          advice: "make the archive again")
      }
      return content
    }
    switch content {
    case .part(let file, let offset, let size):
      return LayoutBlobReader(file: file, path: name, start: offset, size: size)
    case .spooled(let file): return LayoutBlobReader(file: file.content, path: name, size: file.size)
    case .bytes(let bytes): return MemoryBlobReader(bytes)
    }
  }

  private func blob(_ descriptor: Descriptor) throws(ImageError) -> ArchiveContent {
    if let content = state.withLock({ $0.blobs[descriptor.digest] }) { return content }
    return try table.file("blobs/\(descriptor.digest.algorithm.rawValue)/\(descriptor.digest.hex)")
  }

  /// Makes blobs of the store of what was spooled for the image, so that its import finds them there.
  private func takeOver(_ resolved: ResolvedImage) throws(ImageError) {
    var spooled: [(digest: Digest, file: SpooledFile)] = []
    for descriptor in resolved.manifest.layers + [resolved.manifest.config] {
      let content = try blob(descriptor)
      // What is not as it is described is left to the import, whose error names the layer.
      guard case .spooled(let file) = content, file.digest == descriptor.digest, file.size == descriptor.size else {
        continue
      }
      spooled.append((descriptor.digest, file))
    }
    if spooled.isEmpty { return }
    let lease = try Lease.take(store, blobs: Set(spooled.map(\.digest)), disk: "-")
    state.withLock { $0.leases.append(lease) }
    for (digest, file) in spooled where (try? store.size(of: digest)) != file.size {
      try store.adopt(file.file, as: digest)
    }
  }

  private func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () throws(ImageError) -> Value
  ) async throws(OCIError) -> Value {
    do throws(ImageError) {
      return try await interruption.run(body)
    } catch {
      throw OCIError(error)
    }
  }
}

/// A small blob of a stream.
private final class MemoryBlobReader: BlobReader {
  private let rest: Mutex<[UInt8]>

  init(_ bytes: [UInt8]) { rest = Mutex(bytes) }

  func next() async throws(OCIError) -> BlobChunk? {
    let bytes = rest.withLock { rest in
      defer { rest = [] }
      return rest
    }
    return bytes.isEmpty ? nil : BlobChunk(bytes)
  }
}

extension OCIError {
  /// An archive's error as a source's; it comes out of an import as it was.
  init(_ error: ImageError) {
    let code: Code =
      switch error.code {
      case .notFound: .notFound
      case .invalidReference: .invalidReference
      case .corrupt: .invalidDocument
      case .limitExceeded: .limitExceeded
      case .unsupported: .unsupported
      case .cancelled: .cancelled
      case .io, .alreadyExists, .inUse, .noSpace: .fileSystem
      }
    self.init(code, error.message, advice: error.advice, cause: error)
  }
}
