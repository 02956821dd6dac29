public import IgniteOCI

/// An image that is on this machine: its documents are in the content store, its files on a base disk.
public struct ImportedImage: Sendable, Hashable, Codable {
  /// The canonical reference, or the name that its user gave.
  public var name: String
  public var manifestDigest: Digest
  /// The index that led to the manifest; nil where the name led to the manifest itself.
  public var indexDigest: Digest?
  public var configDigest: Digest
  /// What names the base disk's content (OCI image specification, config.md, Layer ChainID). An image without layers
  /// has the digest of no bytes.
  public var chainID: Digest
  /// The base disk's file name below `<data>/disks/`.
  public var disk: String
  /// The base disk's size as the guest sees it, in bytes.
  public var diskSize: Int64
  /// What the base disk takes on the host, in bytes; it is sparse.
  public var diskUsage: Int64
  /// The layers as the manifest lists them, lowest first.
  public var layers: [Descriptor]
  /// Bytes of all layers as they are transferred.
  public var size: Int64
  public var platform: Platform
  /// How to run the image.
  public var config: ImageConfig
  /// When the image was made, RFC 3339, as the image says it.
  public var created: String?

  public init(
    name: String, manifestDigest: Digest, indexDigest: Digest?, configDigest: Digest, chainID: Digest, disk: String,
    diskSize: Int64, diskUsage: Int64, layers: [Descriptor], size: Int64, platform: Platform, config: ImageConfig,
    created: String?
  ) {
    self.name = name
    self.manifestDigest = manifestDigest
    self.indexDigest = indexDigest
    self.configDigest = configDigest
    self.chainID = chainID
    self.disk = disk
    self.diskSize = diskSize
    self.diskUsage = diskUsage
    self.layers = layers
    self.size = size
    self.platform = platform
    self.config = config
    self.created = created
  }

  /// Every blob of the image that the store may hold.
  public var blobs: Set<Digest> { documents.union(layers.map(\.digest)) }

  /// The blobs that are no layers: manifest, index and configuration.
  public var documents: Set<Digest> {
    var blobs: Set<Digest> = [manifestDigest, configDigest]
    if let indexDigest { blobs.insert(indexDigest) }
    return blobs
  }
}

/// Names layers by their position (OCI image specification, config.md, Layer ChainID).
public enum ChainID {
  /// The chain ID of layers with these diff IDs, lowest first.
  public static func of(_ diffIDs: [Digest]) -> Digest {
    guard var chain = diffIDs.first else { return Digest.sha256(of: [UInt8]()) }
    for diffID in diffIDs.dropFirst() { chain = Digest.sha256(of: Array("\(chain) \(diffID)".utf8)) }
    return chain
  }
}
