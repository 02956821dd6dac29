internal import IgniteSystem

/// An image in an OCI image layout: a directory with `oci-layout`, `index.json` and `blobs/` (OCI image
/// specification, image-layout.md).
///
/// No symbolic link below the directory is followed. Files are read on threads of their own.
public struct LayoutSource: ImageSource {
  public let path: String
  public let tag: String?

  /// - Parameter tag: the annotation `org.opencontainers.image.ref.name` to choose by; nil where the layout holds one
  ///   image only.
  public init(path: String, tag: String? = nil) {
    self.path = path
    self.tag = tag
  }

  public var name: String { ImageSourceReference.layout(path: path, tag: tag).description }

  public func resolve(platform: Platform) async throws(OCIError) -> ResolvedImage {
    let directory = LayoutDirectory(path: path)
    let layout = try await blocking { () throws(OCIError) in
      try directory.read(LayoutImages.markerName, limit: LayoutImages.markerSize)
    }
    let index = try await blocking { () throws(OCIError) in
      try directory.read(LayoutImages.indexName, limit: Limits.manifestSize)
    }
    let images = try LayoutImages(
      marker: layout, index: index, place: "the layout \(path)", source: "oci:\(path)", name: name, tag: tag)
    return try await images.resolve(platform: platform) { (descriptor) throws(OCIError) in
      try await blocking { () throws(OCIError) in try directory.readBlob(descriptor, limit: Limits.manifestSize) }
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
}
