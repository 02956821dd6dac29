internal import FoundationEssentials
internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// One import.
struct KernelImportJob: Sendable {
  let source: KernelSource
  let name: String?
  let initPath: String?
  let store: KernelStore
  let openImage: KernelImporter.ImageOpener
  let progress: @Sendable (KernelImportProgress) -> Void
  let cancellation: Cancellation

  func run() async throws -> ImportedKernel {
    switch source {
    case .package(let path):
      return try await blocking { try importPackage(path) }
    case .file(let path, let modules):
      return try await blocking { try importFile(path, modules: modules) }
    case .image(let reference):
      return try await importImage(reference)
    case .apt(let package):
      progress(.resolving(package: package))
      let apt = AptDownloader()
      let candidate = try await apt.resolve(package)
      if let known = try await blocking({ try reuse(candidate) }) { return known }
      let workspace = try await blocking { try makeFolder("apt") }
      progress(.downloading(package: candidate.name, bytes: candidate.size))
      let file = try await apt.download(candidate, into: workspace.path)
      let kernel = try await blocking { try importPackage(file) }
      workspace.remove()
      return kernel
    }
  }

  func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await ThreadExecutor.run(name: "ignite-kernel", body)
  }

  /// A folder of this import's own, which goes with the object.
  func makeFolder(_ kind: String) throws(ImageError) -> ImportFolder {
    try prepareStore()
    let path = "\(store.directory)/.\(kind)-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    return ImportFolder(try KernelWorkspace.acquire(path, cancellation))
  }

  private func prepareStore() throws(ImageError) {
    do {
      try FileManager.default.createDirectory(atPath: store.directory, withIntermediateDirectories: true)
    } catch {
      throw ImageError(.io, "cannot make \(store.directory)", cause: error)
    }
    KernelWorkspace.removeAbandoned(in: store.directory)
  }

  /// The kernel that was made from the very package that apt would download.
  private func reuse(_ candidate: AptDownloader.Candidate) throws(ImageError) -> ImportedKernel? {
    guard let hex = candidate.sha256, let digest = Digest("sha256:\(hex)") else { return nil }
    return try reuse(digest)
  }

  func reuse(_ digest: Digest) throws(ImageError) -> ImportedKernel? {
    guard var kernel = try? store.kernel(digest) else { return nil }
    if let name, name != kernel.name { kernel = try store.rename(kernel, to: name) }
    if let initPath { _ = try store.initrd(for: kernel, initPath: initPath) }
    progress(.reused(package: kernel.package))
    return kernel
  }

  func importPackage(_ given: String) throws(ImageError) -> ImportedKernel {
    guard let resolved = realpath(given, nil) else { throw .system("open", given) }
    let path = String(cString: resolved)
    free(resolved)
    let digest = try digest(of: path)
    if let kernel = try reuse(digest) { return kernel }

    let package = try DebianPackage(path: path)
    guard package.architecture == "amd64" else {
      throw ImageError(
        .unsupported, "the package \(displayName(package.name.utf8)) is for \(displayName(package.architecture.utf8))",
        advice: "use a kernel package for amd64")
    }
    // deb-control(5): Installed-Size is in KiB.
    let total = (package.control["Installed-Size"].flatMap { UInt64($0) } ?? 0).multipliedReportingOverflow(by: 1024)
    return try make(
      Plan(
        digest: digest, name: KernelImporter.defaultName(package: package.name, version: package.version),
        package: package.name, packageVersion: package.version, files: KernelFiles(package),
        total: total.overflow ? 0 : total.partialValue))
  }

  /// What is to be made of what.
  struct Plan {
    var digest: Digest
    /// The name where none was given.
    var name: String
    var package: String
    var packageVersion: String
    var files: KernelFiles
    /// Bytes of all files; 0 where that is not known.
    var total: UInt64 = 0
    /// The unpacked kernel of `files`, which is moved to its place.
    var vmlinux: String?
  }

  /// Makes a kernel's files, unless another import of the same has made them meanwhile.
  func make(_ plan: Plan) throws(ImageError) -> ImportedKernel {
    try prepareStore()
    let workspace = try KernelWorkspace.acquire("\(store.directory)/.import-\(plan.digest.hex)", cancellation)
    // Another process may have made it while this one waited for the lock.
    if let kernel = try reuse(plan.digest) { return kernel }
    let kernel = try build(plan, in: workspace)
    try publish(workspace, plan.digest)
    return kernel
  }

  func digest(of path: String) throws(ImageError) -> Digest {
    let source = try FileByteSource(path: path)
    var hasher = DigestHasher()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { buffer.deallocate() }
    while true {
      try cancellation.check()
      let count = try source.read(into: buffer)
      if count == 0 { return hasher.finalize() }
      hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  private func build(_ plan: Plan, in workspace: KernelWorkspace) throws(ImageError) -> ImportedKernel {
    let directory = workspace.files
    if mkdir(directory, 0o755) != 0 { throw .system("make", directory) }
    if let vmlinux = plan.vmlinux, rename(vmlinux, "\(directory)/vmlinux") != 0 {
      throw .system("make", "\(directory)/vmlinux")
    }
    var unpacker = KernelUnpacker(plan.files, into: directory) { (bytes) throws(ImageError) in
      try cancellation.check()
      progress(.unpacking(package: plan.package, bytes: bytes, total: plan.total))
    }
    let result: KernelUnpacker.Result
    do throws(ImageError) {
      result = try unpacker.run()
    } catch {
      throw error.code == .cancelled ? error : error.of(plan.files.what)
    }
    try cancellation.check()
    try AtomicFile.write(result.modulesArchive, to: "\(directory)/modules.cpio")
    let name = name ?? plan.name
    try KernelImporter.check(name: name)
    // Whole seconds, as kernel.json keeps them.
    let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
    let kernel = ImportedKernel(
      digest: plan.digest, name: name, version: result.version, package: plan.package,
      packageVersion: plan.packageVersion, architecture: "amd64", source: source.description, created: now,
      vmlinuxSize: result.vmlinuxSize, modulesSize: KernelStore.allocated("\(directory)/modules.ext4"),
      moduleCount: result.moduleCount, initrdModules: result.initrdModules,
      initrdModulesDigest: Digest.sha256(of: result.modulesArchive), facts: result.facts,
      format: ImportedKernel.currentFormat)
    if let initPath { _ = try store.initrd(for: kernel, initPath: initPath, in: directory) }
    try store.write(kernel, in: directory)
    return kernel
  }

  /// Puts the finished directory in its place, in place of one that an older version of this program made.
  private func publish(_ workspace: KernelWorkspace, _ digest: Digest) throws(ImageError) {
    try cancellation.check()
    let place = store.path(of: digest)
    if access(place, F_OK) == 0 { try store.remove(digest) }
    // The data must not come to the disk later than the name that vouches for it.
    for (name, mode) in [("vmlinux", 0o644), ("modules.ext4", 0o644), (".", 0o755)] as [(String, mode_t)] {
      try finish("\(workspace.files)/\(name)", mode: mode)
    }
    if rename(workspace.files, place) != 0 { throw .system("make", place) }
  }
}

extension KernelWorkspace {
  /// The directory that becomes the kernel's.
  fileprivate var files: String { "\(path)/kernel" }
}

/// Gives a file its mode, whatever the umask, and waits until it is on stable storage; one that does not exist is well.
private func finish(_ path: String, mode: mode_t) throws(ImageError) {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  if descriptor < 0 {
    if errno == ENOENT { return }
    throw .system("open", path)
  }
  let file = OwnedDescriptor(descriptor)
  if fchmod(file.number, mode) != 0 || fsync(file.number) != 0 { throw .system("write", path) }
}

/// A workspace that is handed from one thread to the next.
final class ImportFolder: @unchecked Sendable {
  // Unchecked: it is used by one thread at a time, the calls being awaited one after another.
  private var workspace: KernelWorkspace?
  let path: String

  init(_ workspace: KernelWorkspace) {
    self.workspace = workspace
    path = workspace.path
  }

  func remove() { workspace = nil }
}
