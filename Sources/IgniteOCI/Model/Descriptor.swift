/// Content by type, digest and size (OCI image specification, descriptor.md).
public struct Descriptor: Sendable, Hashable {
  public var mediaType: String
  public var digest: Digest
  /// Bytes, never negative.
  public var size: Int64
  /// Where the content can be had besides; used by foreign layers, which are refused.
  public var urls: [String]
  public var annotations: [String: String]
  /// The platform of the manifest that is meant; in an index only.
  public var platform: Platform?
  public var artifactType: String?

  public init(
    mediaType: String, digest: Digest, size: Int64, urls: [String] = [], annotations: [String: String] = [:],
    platform: Platform? = nil, artifactType: String? = nil
  ) {
    self.mediaType = mediaType
    self.digest = digest
    self.size = size
    self.urls = urls
    self.annotations = annotations
    self.platform = platform
    self.artifactType = artifactType
  }
}

extension Descriptor: Codable {
  private enum CodingKeys: String, CodingKey {
    case mediaType, digest, size, urls, annotations, platform, artifactType
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    mediaType = try container.decodeIfPresent(String.self, forKey: .mediaType) ?? ""
    digest = try container.decode(Digest.self, forKey: .digest)
    size = try container.decode(Int64.self, forKey: .size)
    urls = try container.decodeIfPresent([String].self, forKey: .urls) ?? []
    annotations = try container.decodeIfPresent([String: String].self, forKey: .annotations) ?? [:]
    platform = try container.decodeIfPresent(Platform.self, forKey: .platform)
    artifactType = try container.decodeIfPresent(String.self, forKey: .artifactType)
    guard size >= 0 else {
      throw DecodingError.dataCorruptedError(forKey: .size, in: container, debugDescription: "a negative size")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(mediaType, forKey: .mediaType)
    try container.encode(digest, forKey: .digest)
    try container.encode(size, forKey: .size)
    if !urls.isEmpty { try container.encode(urls, forKey: .urls) }
    if !annotations.isEmpty { try container.encode(annotations, forKey: .annotations) }
    try container.encodeIfPresent(platform, forKey: .platform)
    try container.encodeIfPresent(artifactType, forKey: .artifactType)
  }
}
