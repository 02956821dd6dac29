internal import Glibc
internal import IgniteOCI

extension KernelImportJob {
  /// A kernel out of an image: its layers are fetched into a folder of this import's own, what belongs to a kernel is
  /// taken from them, and the rest goes with the folder.
  func importImage(_ reference: ImageSourceReference) async throws -> ImportedKernel {
    progress(.resolving(package: reference.description))
    let folder = try await blocking { try makeFolder("files") }
    defer { folder.remove() }
    let importer = ImageImporter(root: folder.path)
    let source = try await openImage(reference, importer.store)
    defer { source.close() }
    let resolved: ResolvedImage
    do throws(OCIError) { resolved = try await source.resolve(platform: .host) } catch { throw ImageError(error) }
    let digest = resolved.descriptor.digest
    if let kernel = try await blocking({ try reuse(digest) }) { return kernel }

    try ImageImporter.check(resolved, source.name)
    progress(
      .downloading(package: source.name, bytes: UInt64(clamping: resolved.manifest.layersSize)))
    let config = try await importer.configuration(resolved, from: source, platform: .host)
    for (position, layer) in resolved.manifest.layers.enumerated() {
      let subject = ImageImporter.layerSubject(position, layer, of: source.name)
      _ = try await BlobIngest.run(IngestingBlob(layer), from: source, to: importer.store, subject: subject) { _ in }
    }
    let name = try (source as? ArchiveSource)?.defaultName ?? reference.defaultName()
    return try await blocking {
      do throws(ImageError) {
        let tree = try read(resolved, config.diffIDs, from: importer.store, source.name, folder.path)
        return try make(try plan(tree, digest, name, folder.path))
      } catch {
        let known = error.code == .cancelled || error.message.contains(source.name)
        throw known ? error : error.of(source.name)
      }
    }
  }

  /// Takes what belongs to a kernel from the layers, each of which must have its diff ID.
  private func read(
    _ resolved: ResolvedImage, _ diffIDs: [Digest], from store: ContentStore, _ name: String, _ folder: String
  ) throws(ImageError) -> KernelTree {
    let directory = "\(folder)/tree"
    try makeDirectory(directory)
    var tree = KernelTree()
    for (position, (layer, diffID)) in zip(resolved.manifest.layers, diffIDs).enumerated() {
      do throws(ImageError) {
        let unpacked = try Compression.unpacked(try store.open(layer.digest))
        let hashed = HashedByteSource(unpacked.source)
        try tree.apply(hashed, into: directory) { (_) throws(ImageError) in try cancellation.check() }
        try hashed.drain()
        guard hashed.digest == diffID else {
          throw ImageError(
            .corrupt, "what is unpacked from it does not have the digest \(diffID.short) of the image's configuration",
            advice: "the image is damaged: build and push it again")
        }
      } catch {
        throw error.code == .cancelled ? error : error.of(ImageImporter.layerSubject(position, layer, of: name))
      }
    }
    return tree
  }

  private func plan(
    _ tree: KernelTree, _ digest: Digest, _ name: Reference, _ folder: String
  ) throws(ImageError) -> Plan {
    let found = try tree.kernel()
    let vmlinux = "\(folder)/vmlinux"
    let size: UInt64
    let scan: KernelScan
    let version: String
    do throws(ImageError) {
      (size, scan, version) = try unpack(found.path, to: vmlinux)
    } catch {
      throw error.code == .cancelled ? error : error.of("/\(displayName(found.name.utf8))")
    }
    let names = tree.modules(of: version)
    let others = tree.versions.subtracting([version])
    guard !names.isEmpty || others.isEmpty else {
      let listed = others.sorted().prefix(10).map { displayName($0.utf8) }.joined(separator: ", ")
      throw ImageError(
        .corrupt, "its kernel is \(version) and its modules are those of \(listed)",
        advice: "take kernel and modules of one build")
    }
    var configuration = scan.configuration
    for name in ["boot/config-\(version)", "lib/modules/\(version)/config"] {
      guard let file = tree.file(name) else { continue }
      configuration = KernelConfiguration(
        try FileByteSource(path: file.path).readAll(limit: KernelConfiguration.sizeLimit))
      break
    }
    let kernel = KernelFiles.Kernel(version: version, size: size, scan: scan, configuration: configuration)
    try checkKnown(kernel, hasModules: !names.isEmpty)
    return Plan(
      digest: digest, name: name.description, package: name.name, packageVersion: digest.short,
      files: KernelFiles(what: "the kernel \(version)", identity: "modules of \(digest)", kernel: kernel) {
        () throws(ImageError) in KernelTarSource(tree, names)
      }, vmlinux: vmlinux)
  }
}
