/// The media types of OCI images and of Docker's schema 2, which differ in name only (OCI image specification,
/// media-types.md, Compatibility Matrix).
public enum MediaType {
  public static let ociManifest = "application/vnd.oci.image.manifest.v1+json"
  public static let ociIndex = "application/vnd.oci.image.index.v1+json"
  public static let ociConfig = "application/vnd.oci.image.config.v1+json"
  public static let ociLayer = "application/vnd.oci.image.layer.v1.tar"
  public static let ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
  public static let ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
  public static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
  public static let dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
  public static let dockerConfig = "application/vnd.docker.container.image.v1+json"
  public static let dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
  public static let dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
  public static let dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
  static let dockerSchema1 = "application/vnd.docker.distribution.manifest.v1+json"
  static let dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"

  /// What an `Accept` header of a manifest request lists.
  static let acceptedManifests = [ociIndex, ociManifest, dockerList, dockerManifest]

  public static func isManifest(_ type: String) -> Bool { type == ociManifest || type == dockerManifest }

  public static func isIndex(_ type: String) -> Bool { type == ociIndex || type == dockerList }

  /// Whether `type` is a configuration of a runnable image; artifacts have others.
  public static func isImageConfig(_ type: String) -> Bool { type == ociConfig || type == dockerConfig }

  /// Layers whose content the registry does not hold (deprecated by OCI image specification 1.1, layer.md).
  public static func isNondistributable(_ type: String) -> Bool {
    type.hasPrefix("application/vnd.oci.image.layer.nondistributable.")
      || type.hasPrefix("application/vnd.docker.image.rootfs.foreign.")
  }

  /// How a layer's tar is compressed; nil for a media type that is no layer.
  public static func layerCompression(_ type: String) -> LayerCompression? {
    switch type {
    case ociLayer, dockerLayer: .plain
    case ociLayerGzip, dockerLayerGzip: .gzip
    case ociLayerZstd, dockerLayerZstd: .zstd
    default: nil
    }
  }
}

/// The compression that a layer's media type names.
public enum LayerCompression: String, Sendable, Hashable, Codable {
  /// Plain tar.
  case plain
  case gzip
  case zstd
}
