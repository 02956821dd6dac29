internal import FoundationEssentials
internal import Glibc
internal import IgniteOCI

extension KernelStore {
  private static let initLimit = 64 << 20
  private static let modulesLimit = 256 << 20
  /// The entries of `modules.cpio` count from 2 on.
  static let firstModuleInode: UInt32 = 2

  /// The initial ramdisk of a kernel with that `ignite-init`: made when it is not there, since `ignite-init` is upgraded
  /// independently of the kernels. Blocking; below a millisecond when it is there.
  ///
  /// Its name tells its content: `initrd-<12 hex digits>`, of the modules' archive and of `ignite-init`. Those made with
  /// other versions of `ignite-init` are removed when a new one is made.
  ///
  /// - Throws: `notFound` or `io` where a file cannot be read, `noSpace`.
  public func initrd(for kernel: ImportedKernel, initPath: String) throws(ImageError) -> String {
    try initrd(for: kernel, initPath: initPath, in: path(of: kernel.digest))
  }

  func initrd(
    for kernel: ImportedKernel, initPath: String, in directory: String
  ) throws(ImageError) -> String {
    // Reading and hashing it takes some milliseconds of each start, so its file's identity is remembered.
    let identity = Self.identity(initPath)
    let memo = "\(directory)/initrd.of"
    if let identity, let known = try? FileByteSource(path: memo).readAll(limit: 4096) {
      let words = String(decoding: known, as: UTF8.self).split(separator: "\n").map(String.init)
      if words.count == 2, words[0] == identity, words[1].hasPrefix("initrd-"), !words[1].contains("/") {
        let path = "\(directory)/\(words[1])"
        if access(path, R_OK) == 0 { return path }
      }
    }
    let path = try makeInitrd(for: kernel, initPath: initPath, in: directory)
    if let identity {
      let name = path.split(separator: "/").last.map(String.init) ?? ""
      // Without it the next start hashes again.
      try? AtomicFile.write(Array("\(identity)\n\(name)\n".utf8), to: memo)
    }
    return path
  }

  /// What changes with a file's content: device, inode, size, and both times in nanoseconds.
  private static func identity(_ path: String) -> String? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    let times = [info.st_mtim, info.st_ctim].map { "\($0.tv_sec).\($0.tv_nsec)" }
    return "\(info.st_dev) \(info.st_ino) \(info.st_size) \(times.joined(separator: " "))"
  }

  private func makeInitrd(
    for kernel: ImportedKernel, initPath: String, in directory: String
  ) throws(ImageError) -> String {
    let program = try Self.program(initPath)
    var hasher = DigestHasher()
    Array(kernel.initrdModulesDigest.hex.utf8).withUnsafeBytes { hasher.update($0) }
    program.withUnsafeBytes { hasher.update($0) }
    let name = "initrd-\(hasher.finalize().hex.prefix(12))"
    let path = "\(directory)/\(name)"
    if access(path, R_OK) == 0 { return path }

    let modules = try FileByteSource(path: "\(directory)/modules.cpio").readAll(limit: Self.modulesLimit)
    guard Digest.sha256(of: modules) == kernel.initrdModulesDigest else {
      throw ImageError(
        .corrupt, "\(directory)/modules.cpio is damaged: its digest is wrong", advice: "import the kernel again")
    }
    var archive = CPIOArchive(firstInode: 1)
    archive.addFile("init", mode: 0o755, content: program)
    archive.finish()
    try AtomicFile.write(modules + archive.bytes, to: path)
    for other in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    where other.hasPrefix("initrd-") && !other.hasPrefix(name) {
      unlink("\(directory)/\(other)")
    }
    return path
  }

  private static func program(_ path: String) throws(ImageError) -> [UInt8] {
    guard let resolved = realpath(path, nil) else {
      throw ImageError.system("open the guest's init", path)
    }
    defer { free(resolved) }
    let bytes = try FileByteSource(path: String(cString: resolved)).readAll(limit: initLimit)
    guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw ImageError(.corrupt, "\(path) is no program: it cannot be the guest's init")
    }
    return bytes
  }

  /// The initrd's part that holds the modules: `/modules/NN-NAME.ko` and `/modules.list`, the files' names in the order
  /// of insertion; below `/builtin` what tells `modprobe` of a kernel that has all built in; and `/dev/console`, without which init would have no standard output. Not ended: an initrd is this
  /// and then `/init`.
  static func modulesArchive(
    _ modules: [(module: KernelModule, content: [UInt8])], builtin: [ModuleIndex.File] = []
  ) -> (bytes: [UInt8], names: [String]) {
    var archive = CPIOArchive(firstInode: firstModuleInode)
    archive.addDirectory("dev", mode: 0o755)
    archive.addCharacterDevice("dev/console", mode: 0o600, major: 5, minor: 1)
    for name in ["proc", "sys", "newroot", "modules"] { archive.addDirectory(name, mode: 0o755) }
    var names: [String] = []
    for (number, item) in modules.enumerated() {
      let name = (number < 10 ? "0" : "") + "\(number)-\(item.module.name).ko"
      names.append(name)
      archive.addFile("modules/\(name)", mode: 0o644, content: item.content)
    }
    archive.addFile("modules.list", mode: 0o644, content: Array(names.map { $0 + "\n" }.joined().utf8))
    if !builtin.isEmpty { archive.addDirectory("builtin", mode: 0o755) }
    for file in builtin { archive.addFile("builtin/\(file.name)", mode: 0o644, content: file.bytes) }
    return (archive.bytes, names)
  }
}
