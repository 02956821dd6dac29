/// What an image is made of: a configuration and its layers, lowest first (OCI image specification, manifest.md).
public struct Manifest: Sendable, Hashable {
  public var mediaType: String?
  public var artifactType: String?
  public var config: Descriptor
  public var layers: [Descriptor]
  public var annotations: [String: String]

  public init(
    mediaType: String? = MediaType.ociManifest, artifactType: String? = nil, config: Descriptor, layers: [Descriptor],
    annotations: [String: String] = [:]
  ) {
    self.mediaType = mediaType
    self.artifactType = artifactType
    self.config = config
    self.layers = layers
    self.annotations = annotations
  }

  /// Bytes of all layers as they are transferred; saturates.
  public var layersSize: Int64 {
    layers.reduce(0) { sum, layer in
      let (total, overflow) = sum.addingReportingOverflow(layer.size)
      return overflow ? .max : total
    }
  }
}

/// Several manifests, one a platform (OCI image specification, image-index.md).
public struct Index: Sendable, Hashable {
  public var mediaType: String?
  public var manifests: [Descriptor]
  public var annotations: [String: String]

  public init(
    mediaType: String? = MediaType.ociIndex, manifests: [Descriptor], annotations: [String: String] = [:]
  ) {
    self.mediaType = mediaType
    self.manifests = manifests
    self.annotations = annotations
  }
}

extension Manifest: Codable {
  private enum CodingKeys: String, CodingKey {
    case schemaVersion, mediaType, artifactType, config, layers, annotations
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(String.self, forKey: .mediaType)
    artifactType = try container.decodeIfPresent(String.self, forKey: .artifactType)
    config = try container.decode(Descriptor.self, forKey: .config)
    layers = try container.decodeIfPresent([Descriptor].self, forKey: .layers) ?? []
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(2, forKey: .schemaVersion)
    try container.encodeIfPresent(mediaType, forKey: .mediaType)
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
    try container.encode(config, forKey: .config)
    try container.encode(layers, forKey: .layers)
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
  }
}

extension Index: Codable {
  private enum CodingKeys: String, CodingKey {
    case schemaVersion, mediaType, manifests, annotations
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(String.self, forKey: .mediaType)
    manifests = try container.decodeIfPresent([Descriptor].self, forKey: .manifests) ?? []
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(2, forKey: .schemaVersion)
    try container.encodeIfPresent(mediaType, forKey: .mediaType)
    try container.encode(manifests, forKey: .manifests)
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
  }
}
