/// Where an image comes from: a registry, a layout in a directory, …
public protocol ImageSource: Sendable {
  /// The source in its user's words, for messages: `localhost:5000/app:1`, `oci:dir:tag`.
  var name: String { get }

  /// Finds the one manifest for `platform`, verified against the digests that lead to it.
  func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage

  /// Starts reading a blob. What is read is not verified: compare its size and digest.
  func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader

  /// Gives up what the source holds on this machine; it is of no use afterwards.
  func close()
}

extension ImageSource {
  public func close() {}
}

/// A blob being read, piece by piece: the next piece is fetched when it is asked for.
///
/// Used by one task at a time; dropping it ends the transfer, as does the cancelling of the task that reads.
public protocol BlobReader: AnyObject, Sendable {
  /// The next bytes, never empty; nil at the end.
  func next() async throws(OCIError) -> BlobChunk?
}

/// An image's manifest as a source gave it.
public struct ResolvedImage: Sendable {
  /// The manifest's media type, digest and size.
  public let descriptor: Descriptor
  /// The manifest's bytes, which have the descriptor's digest.
  public let bytes: [UInt8]
  public let manifest: Manifest
  /// The indexes passed on the way to the manifest, outermost first, each with its bytes.
  public let indexes: [(descriptor: Descriptor, bytes: [UInt8])]

  public init(
    descriptor: Descriptor, bytes: [UInt8], manifest: Manifest,
    indexes: [(descriptor: Descriptor, bytes: [UInt8])] = []
  ) {
    self.descriptor = descriptor
    self.bytes = bytes
    self.manifest = manifest
    self.indexes = indexes
  }

  /// The digest of the outermost index, where there is one.
  public var indexDigest: Digest? { indexes.first?.descriptor.digest }
}
