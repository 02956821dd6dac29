internal import IgniteOCI
internal import IgniteSystem

extension ImageImporter {
  /// Fetches the layers that are not here: those of a disk that was made before, by an import that kept none.
  func fetchMissing(
    _ layers: [Descriptor], from source: any ImageSource, _ progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws(ImageError) {
    let missing = try await blocking { () throws(ImageError) in missingLayers(layers) }
    guard !missing.isEmpty else { return }
    let failure = await fetch(missing.map { ($0.position, IngestingBlob($0.layer)) }, from: source, progress)
    if let failure { throw failure }
    if Task.isCancelled { throw .cancelled }
  }

  /// Refuses an import whose layers alone have no room, before anything of them is fetched.
  ///
  /// - Returns: what is free, nil where it is not known, and the bytes that are certainly needed.
  func checkSpace(
    for resolved: ResolvedImage, _ disk: String, keepsLayers: Bool, _ name: String
  ) async throws(ImageError) -> (host: HostSpace?, needed: Int64) {
    try await blocking { () throws(ImageError) in
      let host = HostSpace(below: store.root)
      guard keepsLayers || !store.hasDisk(disk) else { return (host, 0) }
      let needed = missingLayers(resolved.manifest.layers).reduce(Int64(0)) { sum, missing in
        let (total, overflow) = sum.addingReportingOverflow(missing.layer.size)
        return overflow ? .max : total
      }
      try host?.require(needed, for: "the layers of \(name)")
      return (host, needed)
    }
  }

  private func missingLayers(_ layers: [Descriptor]) -> [(position: Int, layer: Descriptor)] {
    var seen: Set<Digest> = []
    return layers.enumerated().compactMap { position, layer in
      guard seen.insert(layer.digest).inserted, (try? store.size(of: layer.digest)) != layer.size else { return nil }
      return (position, layer)
    }
  }
}
