internal import FoundationEssentials
internal import IgniteAPI
public import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

extension Engine {
  var contentStore: ContentStore { ContentStore(root: paths.data, syncs: configuration.images.sync) }

  /// What the images and VMs that there are need kept. Nothing else counts: there is no number that could drift.
  func needs(images: [ImageRecord], vms: [VM]) -> StoreNeeds {
    var needs = StoreNeeds()
    for record in images { needs.add(record.image, layers: record.keepsLayers ?? true) }
    for vm in vms {
      // A VM keeps the disk that it was made from, even when its image's name has moved on. VMs of older versions have
      // it in a file only.
      if let disk = vm.status.baseDisk ?? (try? imageOfVM(vm.metadata.uid).disk) { needs.disks.insert(disk) }
    }
    return needs
  }

  /// All VMs as they are recorded, without a look at what has become of them.
  func recordedVMs() async throws -> [VM] { try await store.list(kind: VM.kind).map(Self.vm(of:)) }

  func cleanupRequest() async throws -> CleanupRequest {
    var request = CleanupRequest(needs: needs(images: try await imageRecords(), vms: try await recordedVMs()))
    request.grace = configuration.images.gracePeriod
    return request
  }

  /// An image whose layers are here after all, by another one's import, is recorded to keep them.
  func recordLayers(of image: ImportedImage) async throws {
    let store = contentStore
    try await store.undisturbed {
      guard var record = try await imageRecord(image.name), record.keepsLayers == false,
        image.layers.allSatisfy({ store.has($0.digest) })
      else { return }
      record.keepsLayers = nil
      try await write(record)
    }
  }

  /// Runs an import, and takes away behind it what is not to stay: layers that are not kept; of one that found no
  /// space, all that it had brought.
  func cleaningUp(
    keepsLayers: Bool, _ body: () async throws -> ImportedImage
  ) async throws -> ImportedImage {
    do {
      let image = try await body()
      if !keepsLayers {
        try await contentStore.cleanUp {
          var request = try await cleanupRequest()
          request.atOnce.add(image)
          return request
        }
      }
      return image
    } catch {
      guard ImageError.wantOfSpace(error) != nil || (error as? StoreError)?.code == .noSpace else { throw error }
      _ = try? await contentStore.cleanUp {
        var request = try await cleanupRequest()
        request.grace = 0
        return request
      }
      throw error
    }
  }

  /// Gives an image one more name; one that another image had is taken from it.
  public func tagImage(_ query: String, as name: String) async throws -> ImageRecord {
    let reference = try Reference(name)
    guard reference.digest == nil else {
      throw EngineError(
        .invalidArgument, "\(name) has a digest, and a name given here cannot choose its content",
        advice: "write NAME:TAG")
    }
    // What is read here is written down before a clean-up can come between.
    return try await contentStore.undisturbed {
      var record = try await inspectImage(query)
      record.image.name = reference.description
      try await write(record)
      return record
    }
  }

  /// What a removal did.
  public struct RemovedImage: Sendable {
    public var image: ImportedImage
    /// Whether only the name is gone, because another one of the same image is left.
    public var isUntagged: Bool
    public var cleanup: CleanupReport
  }

  /// Removes a name of an image, and with the last one the blobs and the disk that nothing else needs. An image that a
  /// VM uses keeps its last name, unless `force`: then the VM has its disk still.
  public func removeImage(_ query: String, force: Bool = false) async throws -> RemovedImage {
    // VMs whose removal is due are taken away first: they use nothing any more.
    _ = try await vms()
    var removed: (image: ImportedImage, isUntagged: Bool)?
    let report = try await contentStore.cleanUp {
      let records = try await imageRecords()
      let image = try Self.imageToRemove(try await inspectImage(query).image, query, records)
      let isUntagged = records.contains {
        $0.image.manifestDigest == image.manifestDigest && $0.image.name != image.name
      }
      if !isUntagged && !force { try await refuseIfUsed(image) }
      try await forgetImage(image.name)
      CrashPoint.pass(.imageForgotten)
      removed = (image, isUntagged)
      var request = try await cleanupRequest()
      request.atOnce.add(image)
      return request
    }
    guard let removed else { throw CancellationError() }
    await note(Event("image", removed.isUntagged ? "untag" : "delete", id: removed.image.name))
    if !removed.isUntagged { try await endSpares { $0.baseDisk == removed.image.disk } }
    return RemovedImage(image: removed.image, isUntagged: removed.isUntagged, cleanup: report)
  }

  /// A digest that several names share names none of them.
  private static func imageToRemove(
    _ image: ImportedImage, _ query: String, _ records: [ImageRecord]
  ) throws -> ImportedImage {
    let names = records.map(\.image).filter { $0.manifestDigest == image.manifestDigest }.map(\.name)
    let isName = (try? ImageSourceReference(query).defaultName().description) == image.name
    guard isName || names.count == 1 else {
      throw EngineError(
        .ambiguous, "the image \(query) has several names: \(names.joined(separator: ", "))",
        advice: "remove them by name: ignite image rm \(names.joined(separator: " "))")
    }
    return image
  }

  private func refuseIfUsed(_ image: ImportedImage) async throws {
    let users = try await recordedVMs().filter { $0.uses(image) }.map(\.metadata.name)
    guard let first = users.first else { return }
    throw EngineError(
      .wrongState, "the image \(image.name) is used by the VM \(users.joined(separator: ", "))",
      advice: "remove the VM first: ignite rm \(first)")
  }

  func forgetImage(_ name: String) async throws {
    guard let object = try await store.get(kind: Self.imageKind, namespace: "", name: name) else { return }
    try await store.delete(uid: object.uid)
  }
}

extension VM {
  /// Whether the VM was made from that image, under this name or another.
  func uses(_ image: ImportedImage) -> Bool {
    status.imageDigest.map { $0 == image.manifestDigest.description } ?? (spec.image.oci == image.name)
  }
}
