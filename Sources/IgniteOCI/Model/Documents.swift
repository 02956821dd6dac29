internal import FoundationEssentials

/// The limits on documents from outside, and their decoding.
public enum Limits {
  /// Bytes of a manifest or an index (distribution specification, Pushing manifests: at least 4 MiB are to be taken).
  public static let manifestSize = 4 << 20
  /// Bytes of a configuration.
  public static let configSize = 8 << 20
  /// Layers of one image.
  public static let layerCount = 512
  /// Indexes inside one another.
  public static let indexDepth = 3
}

extension ImageConfig {
  /// Reads a configuration blob.
  ///
  /// - Throws: `invalidDocument`, `limitExceeded`.
  public init(json bytes: [UInt8]) throws(OCIError) {
    guard bytes.count <= Limits.configSize else {
      throw OCIError(.limitExceeded, "the image's configuration is longer than \(Limits.configSize) bytes")
    }
    self = try decodeDocument(ImageConfig.self, bytes, "the image's configuration")
    guard diffIDs.count <= Limits.layerCount else {
      throw OCIError(.limitExceeded, "the image's configuration lists more than \(Limits.layerCount) layers")
    }
  }
}

/// A manifest or an index, told apart.
enum ManifestDocument {
  case manifest(Manifest, mediaType: String)
  case index(Index, mediaType: String)

  /// The fields by which the two are told apart. One that has both kinds is refused: two readers could see two
  /// images in it (CVE-2021-41190).
  private struct Shape: Decodable {
    var schemaVersion: Int?
    var mediaType: String?
    var isManifest: Bool
    var isIndex: Bool

    private enum CodingKeys: String, CodingKey {
      case schemaVersion, mediaType, config, layers, manifests, fsLayers
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      schemaVersion = try container.decodeIfPresent(Int.self, forKey: .schemaVersion)
      mediaType = try container.decodeIfPresent(String.self, forKey: .mediaType)
      isManifest = container.contains(.config) || container.contains(.layers)
      isIndex = container.contains(.manifests)
    }
  }

  /// - Parameter declared: the media type by the descriptor or the response, where it is one that is known.
  init(_ bytes: [UInt8], declared: String?) throws(OCIError) {
    guard bytes.count <= Limits.manifestSize else {
      throw OCIError(.limitExceeded, "the manifest is longer than \(Limits.manifestSize) bytes")
    }
    let shape = try decodeDocument(Shape.self, bytes, "the manifest")
    let stated = shape.mediaType.flatMap { $0.isEmpty ? nil : $0 }
    if let stated, let declared, Self.isKnown(declared), stated != declared {
      throw OCIError(
        .invalidDocument,
        "the manifest calls itself \(OCIError.quoted(stated)) and came as \(OCIError.quoted(declared))")
    }
    if shape.schemaVersion == 1 || [stated, declared].contains(where: { $0.map(Self.isSchema1) ?? false }) {
      throw OCIError(
        .unsupported, "the manifest is of Docker's schema 1, which registries and tools gave up",
        advice: "push the image again with a present-day tool")
    }
    let type = stated ?? declared.flatMap { Self.isKnown($0) ? $0 : nil }
    guard shape.schemaVersion == 2 || (shape.schemaVersion == nil && type != nil) else {
      throw OCIError(.invalidDocument, "the manifest has schema version \(shape.schemaVersion ?? 0), not 2")
    }
    if shape.isManifest && shape.isIndex {
      throw OCIError(.invalidDocument, "the manifest is ambiguous: it has layers and lists manifests")
    }
    switch (type.map(MediaType.isIndex) ?? shape.isIndex, type.map(MediaType.isManifest) ?? shape.isManifest) {
    case (true, false):
      guard !shape.isManifest else { throw OCIError(.invalidDocument, "the index has the fields of a manifest") }
      let index = try decodeDocument(Index.self, bytes, "the index")
      self = .index(index, mediaType: type ?? MediaType.ociIndex)
    case (false, true):
      guard !shape.isIndex else { throw OCIError(.invalidDocument, "the manifest has the fields of an index") }
      let manifest = try decodeDocument(Manifest.self, bytes, "the manifest")
      guard manifest.layers.count <= Limits.layerCount else {
        throw OCIError(.limitExceeded, "the manifest lists more than \(Limits.layerCount) layers")
      }
      self = .manifest(manifest, mediaType: type ?? MediaType.ociManifest)
    default:
      throw OCIError(
        .unsupported, "the manifest is of the unknown type \(OCIError.quoted(type ?? "(none)"))",
        advice: "name an image, not another kind of artifact")
    }
  }

  private static func isKnown(_ type: String) -> Bool {
    MediaType.isManifest(type) || MediaType.isIndex(type) || isSchema1(type)
  }

  private static func isSchema1(_ type: String) -> Bool {
    type == MediaType.dockerSchema1 || type == MediaType.dockerSchema1Signed
  }
}

/// Decodes JSON from outside; what is wrong is said in words of the document.
package func decodeDocument<Document: Decodable>(
  _ type: Document.Type, _ bytes: [UInt8], _ what: String
) throws(OCIError) -> Document {
  do {
    return try JSONDecoder().decode(type, from: Data(bytes))
  } catch {
    throw OCIError(.invalidDocument, "\(what) is not valid: \(reason(error))", cause: error)
  }
}

private func reason(_ error: any Error) -> String {
  func at(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
    let path = (context.codingPath + (last.map { [$0] } ?? [])).prefix(12).map { key in
      key.intValue.map(String.init) ?? OCIError.quoted(key.stringValue, limit: 40)
    }
    return path.joined(separator: ".")
  }
  switch error {
  case DecodingError.keyNotFound(let key, let context): return "'\(at(context, key))' is missing"
  case DecodingError.typeMismatch(_, let context): return "'\(at(context))' has the wrong type"
  case DecodingError.valueNotFound(_, let context): return "'\(at(context))' is null"
  case DecodingError.dataCorrupted(let context):
    return context.codingPath.isEmpty
      ? "it is no JSON" : "'\(at(context))' has \(OCIError.quoted(context.debugDescription, limit: 60))"
  case let error as OCIError: return error.message
  default: return "it cannot be read"
  }
}
