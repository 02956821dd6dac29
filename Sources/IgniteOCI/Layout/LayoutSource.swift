internal import IgniteSystem

/// An image in an OCI image layout: a directory with `oci-layout`, `index.json` and `blobs/` (OCI image
/// specification, image-layout.md).
///
/// No symbolic link below the directory is followed. Files are read on threads of their own.
public struct LayoutSource: ImageSource {
  public let path: String
  public let tag: String?

  private static let refName = "org.opencontainers.image.ref.name"

  /// - Parameter tag: the annotation `org.opencontainers.image.ref.name` to choose by; nil where the layout holds one
  ///   image only.
  public init(path: String, tag: String? = nil) {
    self.path = path
    self.tag = tag
  }

  public var name: String { ImageSourceReference.layout(path: path, tag: tag).description }

  public func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    let directory = LayoutDirectory(path: path)
    let layout = try await blocking { () throws(OCIError) in try directory.read("oci-layout", limit: 64 << 10) }
    try Self.checkVersion(layout, path)
    let bytes = try await blocking { () throws(OCIError) in try directory.read("index.json", limit: Limits.manifestSize)
    }
    let index: Index
    do throws(OCIError) {
      index = try decodeDocument(Index.self, bytes, "index.json")
    } catch {
      throw OCIError(.invalidLayout, "\(path): \(error.message)", cause: error)
    }
    let root = try choose(index, platform)
    try ManifestResolver.checkSize(root)
    let fetch = { (descriptor: Descriptor) async throws(OCIError) -> [UInt8] in
      try await self.blocking { () throws(OCIError) in
        try directory.readBlob(descriptor, limit: Limits.manifestSize)
      }
    }
    let manifest = try await fetch(root)
    try ManifestResolver.verify(manifest, root)
    do throws(OCIError) {
      return try await ManifestResolver(platform: platform, fetch: fetch).resolve(root: root, bytes: manifest)
    } catch {
      throw error.prefixed(name)
    }
  }

  public func open(_ descriptor: Descriptor) async throws(OCIError) -> any BlobReader {
    let directory = LayoutDirectory(path: path)
    let file = try await blocking { () throws(OCIError) in try directory.openBlob(descriptor) }
    return LayoutBlobReader(file: file, path: directory.describe(descriptor), size: descriptor.size)
  }

  private func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () throws(OCIError) -> Value
  ) async throws(OCIError) -> Value {
    try await ThreadExecutor.run(name: "ignite-layout", body)
  }

  private static func checkVersion(_ bytes: [UInt8], _ path: String) throws(OCIError) {
    struct Marker: Decodable { var imageLayoutVersion: String }
    let marker: Marker
    do throws(OCIError) {
      marker = try decodeDocument(Marker.self, bytes, "oci-layout")
    } catch {
      throw OCIError(.invalidLayout, "\(path): \(error.message)", cause: error)
    }
    guard marker.imageLayoutVersion.hasPrefix("1.") else {
      throw OCIError(
        .invalidLayout,
        "\(path) is a layout of version \(OCIError.quoted(marker.imageLayoutVersion, limit: 20)), not 1.0.0")
    }
  }

  /// The entry of `index.json` that the tag names, or the only one.
  private func choose(_ index: Index, _ platform: Platform) throws(OCIError) -> Descriptor {
    guard !index.manifests.isEmpty else { throw OCIError(.notFound, "the layout \(path) holds no image") }
    let entries = index.manifests.filter { tag == nil || $0.annotations[Self.refName] == tag }
    if entries.count == 1 { return entries[0] }
    let tags = Set(index.manifests.compactMap { $0.annotations[Self.refName] }).sorted()
    let listed = tags.prefix(20).map { OCIError.quoted($0, limit: 60) }.joined(separator: ", ")
    guard let tag else {
      // The manifests of one image, a platform each, without an index of their own.
      if tags.count <= 1 { return try ManifestResolver.select(from: entries, for: platform) }
      throw OCIError(
        .notFound, "the layout \(path) holds \(entries.count) images, and no tag says which",
        advice: "write oci:\(path):TAG with one of \(listed)")
    }
    guard !entries.isEmpty else {
      throw OCIError(
        .notFound, "the layout \(path) has no tag '\(OCIError.quoted(tag))'",
        advice: tags.isEmpty ? "leave the tag out" : "it has \(listed)")
    }
    return try ManifestResolver.select(from: entries, for: platform)
  }
}
