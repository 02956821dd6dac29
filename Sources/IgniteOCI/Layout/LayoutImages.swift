/// The images that an OCI image layout lists in its `index.json` (OCI image specification, image-layout.md), whatever
/// holds the layout's files: a directory or an archive.
package struct LayoutImages: Sendable {
  package static let markerName = "oci-layout"
  package static let indexName = "index.json"
  /// The most bytes of the marker file.
  package static let markerSize = 64 << 10

  /// A tag, or with some tools a whole reference.
  private static let refName = "org.opencontainers.image.ref.name"
  /// The whole reference, as containerd and Docker write it beside the tag.
  private static let imageKey = "io.containerd.image.name"

  private let index: Index
  private let place: String
  private let source: String
  private let name: String
  private let tag: String?

  /// - Parameters:
  ///   - marker: the content of `oci-layout`.
  ///   - index: the content of `index.json`.
  ///   - place: what holds the layout, in an error's words.
  ///   - source: the source as its user names it, without a tag.
  ///   - name: the source with what chooses an image.
  ///   - tag: what chooses an image; nil where the layout holds one image only.
  package init(marker: [UInt8], index: [UInt8], place: String, source: String, name: String, tag: String?)
    throws(OCIError)
  {
    struct Marker: Decodable { var imageLayoutVersion: String }
    self.place = place
    self.source = source
    self.name = name
    self.tag = tag
    do throws(OCIError) {
      let version = try decodeDocument(Marker.self, marker, Self.markerName).imageLayoutVersion
      guard version.hasPrefix("1.") else {
        throw OCIError(.invalidLayout, "its version is \(OCIError.quoted(version, limit: 20)), not 1.0.0")
      }
      self.index = try decodeDocument(Index.self, index, Self.indexName)
    } catch {
      throw OCIError(.invalidLayout, "\(place): \(error.message)", cause: error)
    }
  }

  /// Finds the manifest for a platform.
  ///
  /// - Parameter fetch: gives a blob's bytes; they need no verification.
  package func resolve(
    platform: Platform, fetch: @escaping (Descriptor) async throws(OCIError) -> [UInt8]
  ) async throws(OCIError) -> ResolvedImage {
    let root = try choose(platform)
    try ManifestResolver.checkSize(root)
    let manifest = try await fetch(root)
    try ManifestResolver.verify(manifest, root)
    do throws(OCIError) {
      return try await ManifestResolver(platform: platform, fetch: fetch).resolve(root: root, bytes: manifest)
    } catch {
      throw error.prefixed(name)
    }
  }

  /// The reference that the chosen image has by its annotations; nil where they tell no more than a tag.
  package var reference: Reference? {
    for entry in matching {
      if let name = entry.annotations[Self.imageKey], let reference = try? Reference(name) { return reference }
      if let name = entry.annotations[Self.refName], name.contains(where: { $0 == "/" || $0 == ":" }),
        let reference = try? Reference(name)
      {
        return reference
      }
    }
    return nil
  }

  /// The chosen image's tag where it has one and no more.
  package var onlyTag: String? { matching.lazy.compactMap { $0.annotations[Self.refName] }.first }

  private var matching: [Descriptor] { index.manifests.filter(matches) }

  private func matches(_ entry: Descriptor) -> Bool {
    guard let tag else { return true }
    if entry.annotations[Self.refName] == tag { return true }
    guard let wanted = try? Reference(tag) else { return false }
    return [Self.imageKey, Self.refName].contains { key in
      guard let name = entry.annotations[key], name.contains(where: { $0 == "/" || $0 == ":" }) else { return false }
      return (try? Reference(name)) == wanted
    }
  }

  private func imageName(_ entry: Descriptor) -> String? {
    entry.annotations[Self.imageKey] ?? entry.annotations[Self.refName]
  }

  /// The entry of `index.json` that the tag names, or the only one.
  private func choose(_ platform: Platform) throws(OCIError) -> Descriptor {
    guard !index.manifests.isEmpty else { throw OCIError(.notFound, "\(place) holds no image") }
    let entries = matching
    let listed = Set(index.manifests.compactMap(imageName)).sorted().prefix(20).map { OCIError.quoted($0, limit: 100) }
      .joined(separator: ", ")
    guard let first = entries.first else {
      throw OCIError(
        .notFound, "\(place) has no tag '\(OCIError.quoted(tag ?? ""))'",
        advice: listed.isEmpty ? "leave the tag out" : "it has \(listed)")
    }
    // One image may stand there under several names.
    if entries.allSatisfy({ $0.digest == first.digest }) { return first }
    // The manifests of one image, a platform each, without an index of their own.
    if Set(entries.compactMap(imageName)).count <= 1 {
      return try ManifestResolver.select(from: entries, for: platform)
    }
    throw OCIError(
      .notFound,
      tag.map { "\(place) has several images with the tag '\(OCIError.quoted($0))'" }
        ?? "\(place) holds \(entries.count) images, and no tag says which",
      advice: "write \(source):TAG with one of \(listed)")
  }
}
