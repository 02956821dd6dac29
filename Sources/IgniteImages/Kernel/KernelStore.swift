internal import FoundationEssentials
internal import Glibc
public import IgniteOCI
internal import IgniteSystem

/// The kernels below `<data>/kernels`, each in a directory named by its digest. All calls block.
public struct KernelStore: Sendable {
  /// The directory of all kernels.
  public let directory: String

  /// - Parameter root: the data root; nothing is made there before an import.
  public init(root: String) { directory = "\(root)/kernels" }

  /// All kernels, the oldest import first; directories that cannot be read are left out.
  ///
  /// - Throws: `io` where the store itself cannot be read.
  public func list() throws(ImageError) -> [ImportedKernel] {
    if access(directory, F_OK) != 0, errno == ENOENT { return [] }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      throw ImageError(.io, "cannot read \(directory)", cause: error)
    }
    return
      names.compactMap { name in
        guard let digest = Digest("sha256:\(name)") else { return nil }
        return try? kernel(digest)
      }
      .sorted { ($0.created, $0.digest.hex) < ($1.created, $1.digest.hex) }
  }

  /// The kernel of that digest.
  ///
  /// - Throws: `notFound`; `corrupt` where its description is damaged or of another version of this program.
  public func kernel(_ digest: Digest) throws(ImageError) -> ImportedKernel {
    let path = "\(path(of: digest))/kernel.json"
    let bytes: [UInt8]
    do {
      bytes = try FileByteSource(path: path).readAll(limit: 1 << 20)
    } catch  where error.code == .notFound {
      throw ImageError(
        .notFound, "there is no kernel \(digest.short)", advice: "import one with `ignite kernel import`", cause: error)
    }
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    guard let kernel = try? decoder.decode(ImportedKernel.self, from: Data(bytes)),
      kernel.digest == digest, kernel.format == ImportedKernel.currentFormat
    else {
      throw ImageError(
        .corrupt, "the description of kernel \(digest.short) is damaged or of another version of ignite",
        advice: "import the kernel again")
    }
    return kernel
  }

  /// The directory of a kernel's files, whether it exists or not.
  public func path(of digest: Digest) -> String { "\(directory)/\(digest.hex)" }
  /// The ELF file that a hypervisor boots.
  public func vmlinux(of kernel: ImportedKernel) -> String { "\(path(of: kernel.digest))/vmlinux" }
  /// The read-only ext4 disk with `lib/modules/VERSION` at its root; nil where the kernel has no modules.
  public func modulesDisk(of kernel: ImportedKernel) -> String? {
    kernel.moduleCount == 0 ? nil : "\(path(of: kernel.digest))/modules.ext4"
  }

  /// Whether an initrd of that file name is there for the kernel.
  public func hasInitrd(_ name: String, of kernel: ImportedKernel) -> Bool {
    !name.isEmpty && !name.contains("/") && access("\(path(of: kernel.digest))/\(name)", F_OK) == 0
  }

  /// Removes a kernel and its files; a machine that has them open goes on.
  ///
  /// - Throws: `notFound`, `io`.
  public func remove(_ digest: Digest) throws(ImageError) {
    // Renamed first: a half-removed kernel must never be seen.
    let doomed = "\(directory)/.remove-\(getpid())-\(digest.hex)"
    if Glibc.rename(path(of: digest), doomed) != 0 {
      if errno == ENOENT { throw ImageError(.notFound, "there is no kernel \(digest.short)") }
      throw .system("remove", path(of: digest))
    }
    do {
      try FileManager.default.removeItem(atPath: doomed)
    } catch {
      throw ImageError(.io, "cannot remove all of \(doomed)", cause: error)
    }
  }

  /// The bytes that a kernel's files take on the host's disk.
  public func usage(_ digest: Digest) -> UInt64 {
    let directory = path(of: digest)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.reduce(0) { $0 + Self.allocated("\(directory)/\($1)") }
  }

  /// What imports that died left behind, as paths below the data root, with what it takes on the host's disk.
  public func abandoned() -> [(path: String, bytes: Int64)] {
    let parent = directory.split(separator: "/").last ?? "kernels"
    return KernelWorkspace.abandoned(in: directory).map { name in
      var bytes: Int64 = 0
      // What vanishes meanwhile takes nothing.
      try? FileTree.walk("\(directory)/\(name)") { bytes += $0.bytes }
      return ("\(parent)/\(name)", bytes)
    }
  }

  /// Whether a name below `kernels` is that of an import under way, or of one that died.
  public static func isWorkspace(_ name: String) -> Bool {
    KernelWorkspace.prefixes.contains { name.hasPrefix($0) }
  }

  /// Removes it.
  public func removeAbandoned() { KernelWorkspace.removeAbandoned(in: directory) }

  /// Gives a kernel another name.
  func rename(_ kernel: ImportedKernel, to name: String) throws(ImageError) -> ImportedKernel {
    var kernel = kernel
    kernel.name = name
    try write(kernel, in: path(of: kernel.digest))
    return kernel
  }

  /// Writes `kernel.json`, whole or not at all.
  func write(_ kernel: ImportedKernel, in directory: String) throws(ImageError) {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .iso8601
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(kernel) else {
      throw ImageError(.io, "cannot encode the description of kernel \(kernel.digest.short)")
    }
    try AtomicFile.write(Array(data) + [0x0a], to: "\(directory)/kernel.json")
  }

  static func allocated(_ path: String) -> UInt64 {
    var status = stat()
    return lstat(path, &status) == 0 ? UInt64(status.st_blocks) * 512 : 0
  }
}

/// Small files that are seen whole or not at all.
enum AtomicFile {
  static func write(_ bytes: [UInt8], to path: String) throws(ImageError) {
    let temporary = "\(path).\(getpid())-\(UInt32.random(in: 0 ... .max))"
    do throws(ImageError) {
      try create(temporary, bytes)
      if Glibc.rename(temporary, path) != 0 { throw .system("write", path) }
    } catch {
      unlink(temporary)
      throw error
    }
  }

  private static func create(_ path: String, _ bytes: [UInt8]) throws(ImageError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    if descriptor < 0 { throw .system("create", path) }
    let file = OwnedDescriptor(descriptor)
    // Whatever the umask: as root a machine's files are read by the machine's own user.
    fchmod(file.number, 0o644)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress.map { $0 + done }, $0.count - done) }
      if count < 0, errno == EINTR { continue }
      if count < 0 { throw .system("write", path) }
      done += count
    }
    if fsync(file.number) != 0 { throw .system("write", path) }
  }
}
