internal import Glibc
internal import IgniteOCI

extension KernelImportJob {
  private static let archiveMagic = Array("!<arch>\n".utf8)

  /// A vmlinux or bzImage file with the modules of a folder, or a package whose name does not tell. Blocking.
  func importFile(_ given: String, modules: String?) throws(ImageError) -> ImportedKernel {
    guard let resolved = realpath(given, nil) else { throw .system("open", given) }
    let path = String(cString: resolved)
    free(resolved)
    let head = try PeekedByteSource(try FileByteSource(path: path), count: 8).head
    if head == Self.archiveMagic {
      guard modules == nil else {
        throw ImageError(
          .invalidReference, "\(given) is a package, which brings its own modules", advice: "leave --modules out")
      }
      return try importPackage(path)
    }
    let folder = try makeFolder("files")
    defer { folder.remove() }
    do throws(ImageError) {
      let vmlinux = "\(folder.path)/vmlinux"
      let (size, scan, version) = try unpack(path, to: vmlinux)
      var tree = KernelTree()
      if let modules { tree = try KernelTree.modules(in: modules, version: version) }
      let configuration = try configuration(beside: path, version: version) ?? scan.configuration
      var hasher = DigestHasher()
      try hash(try FileByteSource(path: path), &hasher)
      let names = tree.modules(of: version)
      try hash(KernelTarSource(tree, names), &hasher)
      if let configuration { configuration.text.withUnsafeBytes { hasher.update($0) } }
      let digest = hasher.finalize()
      if let kernel = try reuse(digest) { return kernel }
      let kernel = KernelFiles.Kernel(version: version, size: size, scan: scan, configuration: configuration)
      try checkKnown(kernel, hasModules: !names.isEmpty)
      let base = path.split(separator: "/").last.map(String.init) ?? path
      return try make(
        Plan(
          digest: digest, name: "localhost/kernel:\(KernelImporter.tag(version))", package: base,
          packageVersion: version,
          files: KernelFiles(what: "the kernel \(given)", identity: "modules of \(digest)", kernel: kernel) {
            () throws(ImageError) in KernelTarSource(tree, names)
          }, vmlinux: vmlinux))
    } catch {
      let known = error.code == .cancelled || error.message.contains(given)
      throw known ? error : error.of(given)
    }
  }

  /// Unpacks a kernel and finds out its release.
  func unpack(_ path: String, to vmlinux: String) throws(ImageError) -> (size: UInt64, KernelScan, version: String) {
    let size = try KernelImage.unpack(try FileByteSource(path: path), to: vmlinux)
    try KernelImage.check(vmlinux)
    try cancellation.check()
    let scan = try KernelScan(path: vmlinux)
    guard let version = scan.version, KernelUnpacker.isVersion(version) else {
      throw ImageError(.unsupported, "the kernel does not tell its version: it has no 'Linux version' in it")
    }
    return (size, scan, version)
  }

  /// Without modules only the configuration can tell what is built in.
  func checkKnown(_ kernel: KernelFiles.Kernel, hasModules: Bool) throws(ImageError) {
    guard !hasModules, kernel.configuration == nil else { return }
    throw ImageError(
      .unsupported,
      "there are no modules of \(kernel.version), and the kernel does not say what is built in: it has no "
        + "configuration in it (CONFIG_IKCONFIG)",
      advice: "give its modules (--modules DIR), or put its configuration beside it as config-\(kernel.version)")
  }

  /// The file `config-VERSION` beside the kernel, as distributions put it.
  private func configuration(beside path: String, version: String) throws(ImageError) -> KernelConfiguration? {
    let folder = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
    let file = "\(folder)/config-\(version)"
    guard access(file, R_OK) == 0 else { return nil }
    let bytes = try FileByteSource(path: file).readAll(limit: KernelConfiguration.sizeLimit)
    return KernelConfiguration(bytes)
  }

  private func hash(_ source: any ByteSource, _ hasher: inout DigestHasher) throws(ImageError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { buffer.deallocate() }
    while true {
      try cancellation.check()
      let count = try source.read(into: buffer)
      if count == 0 { return }
      hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }
}
