internal import Glibc
public import IgniteOCI
internal import IgniteSystem

/// Brings images from a source onto this machine: documents and layers into the content store, their files onto a
/// base disk, in one pass.
public struct ImageImporter: Sendable {
  public let store: ContentStore
  let sink: @Sendable (_ path: String, _ identity: String) throws(ImageError) -> any LayerSink
  /// The base disk builder's version: disks of another one are not reused.
  private let builder: String
  let limits: ImportLimits

  /// Layers that are transferred at once.
  static let transfers = 4

  init(
    store: ContentStore, builder: String, limits: ImportLimits = ImportLimits(),
    sink: @escaping @Sendable (_ path: String, _ identity: String) throws(ImageError) -> any LayerSink
  ) {
    self.store = store
    self.builder = builder
    self.limits = limits
    self.sink = sink
  }

  /// Imports an image.
  ///
  /// Nothing is left of an import that fails or is cancelled but whole blobs, which the next import uses and
  /// `ContentStore.cleanUp` deletes. Two imports of the same layers at once do the work once.
  ///
  /// - Parameters:
  ///   - name: what the image is to be called; nil for the source's own name.
  ///   - keepsLayers: brings the layers' blobs here even where the disk is made already.
  ///   - progress: called from any thread; must not block.
  ///   - record: remembers the image; until it returns, no clean-up takes anything of the image away.
  /// - Throws: `ImageError`, with an `OCIError` as its cause where the source failed; what `record` throws.
  @discardableResult
  public func importImage(
    source: any ImageSource, name: String? = nil, platform: Platform = .host, keepsLayers: Bool = true,
    progress: @escaping @Sendable (ImportProgress) -> Void = { _ in },
    record: @Sendable (ImportedImage) async throws -> Void = { _ in }
  ) async throws -> ImportedImage {
    progress(.resolving(source.name))
    let resolved: ResolvedImage
    do throws(OCIError) { resolved = try await source.resolve(platform: platform) } catch { throw ImageError(error) }
    try Self.check(resolved, source.name)

    var lease = try await lease(resolved, disk: nil)
    defer { lease.release() }
    try await putDocuments(resolved)
    let config = try await configuration(resolved, from: source, platform: platform)
    CrashPoint.pass(.importDocuments)
    progress(.resolved(layers: resolved.manifest.layers))

    let chainID = ChainID.of(config.diffIDs)
    let disk = DiskFile.base(chainID: chainID, version: builder) + ".ext4"
    let wider = try await self.lease(resolved, disk: disk)
    lease.release()
    lease = wider

    let space = try await checkSpace(for: resolved, disk, keepsLayers: keepsLayers, source.name)
    do throws(ImageError) {
      try await makeDisk(disk, resolved, config, from: source, progress)
      if keepsLayers { try await fetchMissing(resolved.manifest.layers, from: source, progress) }
    } catch {
      throw error.explained(source.name, before: space.host, needed: space.needed)
    }
    let (size, usage) = try await blocking { () throws(ImageError) in try store.diskSize(disk) }
    let image = ImportedImage(
      name: name ?? source.name, manifestDigest: resolved.descriptor.digest, indexDigest: resolved.indexDigest,
      configDigest: resolved.manifest.config.digest, chainID: chainID, disk: disk, diskSize: size, diskUsage: usage,
      layers: resolved.manifest.layers, size: resolved.manifest.layersSize,
      platform: config.os.isEmpty || config.architecture.isEmpty ? platform : config.platform, config: config,
      created: config.created)
    CrashPoint.pass(.importPlaced)
    try await record(image)
    CrashPoint.pass(.importRecorded)
    progress(.done(image))
    return image
  }

  /// What an error about a layer begins with.
  static func layerSubject(_ position: Int, _ descriptor: Descriptor, of image: String) -> String {
    "layer \(position + 1) of \(image) (\(descriptor.digest.short))"
  }

  func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () throws(ImageError) -> Value
  ) async throws(ImageError) -> Value {
    try await ThreadExecutor.run(name: "ignite-store", body)
  }

  private func lease(_ resolved: ResolvedImage, disk: String?) async throws(ImageError) -> Lease {
    var blobs = Set(resolved.manifest.layers.map(\.digest))
    blobs.formUnion(resolved.indexes.map(\.descriptor.digest))
    blobs.formUnion([resolved.descriptor.digest, resolved.manifest.config.digest])
    let all = blobs
    return try await blocking { () throws(ImageError) in try Lease.take(store, blobs: all, disk: disk ?? "-") }
  }
}
