internal import IgniteOCI

/// What turns layers into a base disk; blocking, one thread at a time.
protocol LayerSink {
  /// Applies a layer's tar, uncompressed, on top of what is there.
  mutating func apply(_ tar: any ByteSource) throws(ImageError)

  /// Completes the disk and brings it to stable storage.
  mutating func finish() throws(ImageError)
}

/// Applies layers to a sink as they arrive.
struct DiskAssembly {
  let image: String
  let blobs: [IngestingBlob]
  let diffIDs: [Digest]
  let limits: ImportLimits
  /// Called with a layer's position once its files are on the disk.
  let applied: @Sendable (Int) -> Void

  /// Builds the whole disk. Blocking: it waits for the layers' bytes.
  ///
  /// - Throws: `corrupt` where a layer is not the tar that its diff ID names; what the blobs failed with.
  func run(into sink: inout some LayerSink) throws(ImageError) {
    for (position, (blob, diffID)) in zip(blobs, diffIDs).enumerated() {
      do throws(ImageError) {
        try apply(blob, diffID, to: &sink)
      } catch {
        // Data that makes no sense may be what a wrong digest will tell of at its end: that is the better reason.
        if error.code == .corrupt, case .failure(let reason) = blob.outcome() { throw reason }
        throw Self.isOfBlob(error, blob) ? error : error.of(subject(position))
      }
      applied(position)
    }
    // Nothing stands on bytes whose digest was not compared.
    for blob in blobs {
      if case .failure(let error) = blob.outcome() { throw error }
    }
    try sink.finish()
  }

  private func subject(_ position: Int) -> String {
    ImageImporter.layerSubject(position, blobs[position].descriptor, of: image)
  }

  /// Whether the error is the blob's own, which has its subject already.
  private static func isOfBlob(_ error: ImageError, _ blob: IngestingBlob) -> Bool {
    guard case .failure(let reason) = blob.currentOutcome else { return false }
    return reason.message == error.message || error.code == .cancelled
  }

  private func apply(_ blob: IngestingBlob, _ diffID: Digest, to sink: inout some LayerSink) throws(ImageError) {
    let packed = CountedByteSource(blob.source())
    let unpacked = try Compression.unpacked(packed, limit: .max)
    // Three threads: one unpacks, one digests, this one reads the archive and writes the disk.
    let layer = try ReadAheadByteSource(
      ExpansionGuard(unpacked.source, from: packed, limits: limits), digest: DiffIDDigest())
    try sink.apply(layer)
    // The archive may end ahead of the stream, and the digest is of the whole.
    try layer.drain()
    let found = layer.finish()
    guard found == DiffIDDigest.bytes(of: diffID) else {
      throw ImageError(
        .corrupt, "what is unpacked from it does not have the digest \(diffID.short) of the image's configuration",
        advice: "the image is damaged: build and push it again")
    }
  }
}

/// The sha256 of a layer's tar.
private struct DiffIDDigest: StreamingDigest {
  private var hasher = DigestHasher()

  mutating func update(bufferPointer: UnsafeRawBufferPointer) { hasher.update(bufferPointer) }
  mutating func finish() -> [UInt8] { Self.bytes(of: hasher.finalize()) }

  /// A digest as comparable bytes: its text.
  static func bytes(of digest: Digest) -> [UInt8] { Array(digest.description.utf8) }
}
