internal import FoundationEssentials
internal import IgniteImages
public import IgniteOCI
internal import IgniteSystem

extension Engine {
  /// Keeps a user's password for a registry, once the registry has taken it.
  ///
  /// - Parameter host: a registry; with Podman's files also a part of one, `HOST/NAMESPACE`.
  /// - Returns: the registry, and where the password is kept.
  public func login(_ host: String, user: String, password: String) async throws -> (registry: String, place: String) {
    let (registry, key) = try RegistryClient.loginKey(host)
    try await registries.verify(user: user, password: password, registry: registry)
    let place = try await registries.configuration.credentials.store(user: user, password: password, host: key)
    return (registry, place)
  }

  /// Forgets the credentials for a registry.
  ///
  /// - Returns: where they were.
  /// - Throws: `notFound` where there are none.
  public func logout(_ host: String) async throws -> [String] {
    let (_, key) = try RegistryClient.loginKey(host)
    let places = try await registries.configuration.credentials.erase(host: key)
    guard !places.isEmpty else {
      throw EngineError(.notFound, "no credentials are stored for \(key)", advice: "nothing is to be done")
    }
    return places
  }

  /// Pushes an image as it was imported: its manifest and blobs, byte for byte.
  ///
  /// - Parameter destination: a reference; nil for the image's own name.
  /// - Returns: where it is now, with the manifest's digest.
  public func pushImage(
    _ query: String, to destination: String? = nil, progress: @escaping @Sendable (RegistryPush.Progress) -> Void
  ) async throws -> Reference {
    let record = try await inspectImage(query)
    let image = record.image
    try requireBlobs(of: record, for: "push")
    let name = try Reference(image.name)
    var target = try destination.map { (text) throws(OCIError) in try Reference(text) } ?? name
    if destination == nil, target.digest != nil, target.digest == image.indexDigest {
      // By the index's digest it was found; this is one of its manifests.
      target = target.with(digest: image.manifestDigest)
    }
    let store = ContentStore(root: paths.data)
    let manifest = try await ThreadExecutor.run { () throws(ImageError) in
      try store.read(image.manifestDigest, limit: Limits.manifestSize)
    }
    let open: RegistryPush.Opening = { (descriptor: Descriptor) async throws(OCIError) -> any BlobReader in
      do throws(ImageError) {
        return FileBlobReader(path: try store.path(of: descriptor.digest))
      } catch {
        throw OCIError(.unsupported, error.message, advice: error.advice, cause: error)
      }
    }
    let push = RegistryPush(to: target, from: [name], client: registries)
    let digest = try await push.push(manifest: manifest, open: open, progress: progress)
    return target.with(digest: digest)
  }
}
