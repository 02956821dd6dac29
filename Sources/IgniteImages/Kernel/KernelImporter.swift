internal import FoundationEssentials
internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Brings kernels into the store.
public enum KernelImporter {
  /// Makes a kernel's files from a Debian package: the ELF `vmlinux`, `modules.ext4`, and an initrd of `ignite-init` and
  /// the needed modules.
  ///
  /// What is in the store already is not made again, and not downloaded again; a new name is noted. A failure or a
  /// cancellation leaves nothing, and two imports at once make one kernel.
  ///
  /// - Parameters:
  ///   - source: a package file, or a package that apt knows.
  ///   - name: the reference that people call the kernel by; nil for `debian/PACKAGE:VERSION`.
  ///   - initPath: `ignite-init`, for the initrd; nil leaves the initrd to `KernelStore.initrd(for:initPath:)`.
  ///   - dataRoot: the data root.
  ///   - progress: is told how far it is, on any thread.
  /// - Throws: `ImageError`, with the code `cancelled` when the task was cancelled.
  public static func importKernel(
    source: KernelSource, name: String? = nil, initPath: String?, dataRoot: String,
    progress: @escaping @Sendable (KernelImportProgress) -> Void = { _ in }
  ) async throws(ImageError) -> ImportedKernel {
    if let name { try check(name: name) }
    let job = Job(
      source: source, name: name, initPath: initPath, store: KernelStore(root: dataRoot), progress: progress,
      cancellation: Cancellation())
    do {
      return try await withTaskCancellationHandler {
        try await job.run()
      } onCancel: {
        job.cancellation.cancel()
      }
    } catch let error as ImageError {
      throw error
    } catch is CancellationError {
      throw ImageError(.cancelled, "interrupted")
    } catch let error as any UserFacingError {
      throw ImageError(.io, error.message, advice: error.advice, cause: error)
    } catch {
      throw ImageError(.io, "the kernel cannot be imported", cause: error)
    }
  }

  /// - Throws: `invalidReference` for a name that is no reference with a tag.
  static func check(name: String) throws(ImageError) {
    do throws(OCIError) {
      _ = try Reference(name)
    } catch {
      throw ImageError(.invalidReference, error.message, advice: error.advice, cause: error)
    }
  }

  /// `debian/PACKAGE:VERSION`, with what a tag cannot hold replaced.
  static func defaultName(package: String, version: String) -> String {
    let tag = version.map { character in
      character.isASCII && (character.isLetter || character.isNumber || "._-".contains(character)) ? character : "_"
    }
    let repository = package.map { $0 == "+" ? "-" : $0 }
    return "debian/\(String(repository)):\(String(tag.prefix(128)))"
  }
}

/// One import.
private struct Job: Sendable {
  let source: KernelSource
  let name: String?
  let initPath: String?
  let store: KernelStore
  let progress: @Sendable (KernelImportProgress) -> Void
  let cancellation: Cancellation

  func run() async throws -> ImportedKernel {
    switch source {
    case .package(let path):
      return try await blocking { try importFile(path) }
    case .apt(let package):
      progress(.resolving(package: package))
      let apt = AptDownloader()
      let candidate = try await apt.resolve(package)
      if let known = try await blocking({ try reuse(candidate) }) { return known }
      let workspace = try await blocking { try makeDownloadDirectory() }
      progress(.downloading(package: candidate.name, bytes: candidate.size))
      let file = try await apt.download(candidate, into: workspace.path)
      let kernel = try await blocking { try importFile(file) }
      workspace.remove()
      return kernel
    }
  }

  private func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await ThreadExecutor.run(name: "ignite-kernel", body)
  }

  private func makeDownloadDirectory() throws(ImageError) -> DownloadDirectory {
    try prepareStore()
    let path = "\(store.directory)/.apt-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    return DownloadDirectory(try KernelWorkspace.acquire(path, cancellation))
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

  private func reuse(_ digest: Digest) throws(ImageError) -> ImportedKernel? {
    guard var kernel = try? store.kernel(digest) else { return nil }
    if let name, name != kernel.name { kernel = try store.rename(kernel, to: name) }
    if let initPath { _ = try store.initrd(for: kernel, initPath: initPath) }
    progress(.reused(package: kernel.package))
    return kernel
  }

  private func importFile(_ given: String) throws(ImageError) -> ImportedKernel {
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
    try prepareStore()
    let workspace = try KernelWorkspace.acquire("\(store.directory)/.import-\(digest.hex)", cancellation)
    // Another process may have made it while this one waited for the lock.
    if let kernel = try reuse(digest) { return kernel }
    let kernel = try build(package, digest, in: workspace)
    try publish(workspace, digest)
    return kernel
  }

  private func digest(of path: String) throws(ImageError) -> Digest {
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

  private func build(
    _ package: DebianPackage, _ digest: Digest, in workspace: KernelWorkspace
  ) throws(ImageError) -> ImportedKernel {
    let directory = workspace.files
    if mkdir(directory, 0o755) != 0 { throw .system("make", directory) }
    // deb-control(5): Installed-Size is in KiB.
    let total = (package.control["Installed-Size"].flatMap { UInt64($0) } ?? 0).multipliedReportingOverflow(by: 1024)
    var unpacker = KernelUnpacker(package, into: directory) { (bytes) throws(ImageError) in
      try cancellation.check()
      progress(.unpacking(package: package.name, bytes: bytes, total: total.overflow ? 0 : total.partialValue))
    }
    let result: KernelUnpacker.Result
    do throws(ImageError) {
      result = try unpacker.run()
    } catch {
      throw error.code == .cancelled ? error : error.of("the package \(displayName(package.name.utf8))")
    }
    try cancellation.check()
    try AtomicFile.write(result.modulesArchive, to: "\(directory)/modules.cpio")
    let name = name ?? KernelImporter.defaultName(package: package.name, version: package.version)
    try KernelImporter.check(name: name)
    // Whole seconds, as kernel.json keeps them.
    let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
    let kernel = ImportedKernel(
      digest: digest, name: name, version: result.version, package: package.name, packageVersion: package.version,
      architecture: package.architecture, source: source.description, created: now,
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
private final class DownloadDirectory: @unchecked Sendable {
  // Unchecked: it is used by one thread at a time, the calls being awaited one after another.
  private var workspace: KernelWorkspace?
  let path: String

  init(_ workspace: KernelWorkspace) {
    self.workspace = workspace
    path = workspace.path
  }

  func remove() { workspace = nil }
}
