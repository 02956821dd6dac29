internal import CIgniteSystem
internal import Glibc

extension Isolation {
  /// What dynamically linked programs need to run in the new root: themselves, the linker, the libraries, /dev, /proc.
  ///
  /// The library directories are bound whole and read-only: they hold nothing secret, and a dynamic linker's search
  /// (caches, RUNPATH, dlopen of modules by QEMU) is not reproduced here. Of `/etc` there is the linker's cache only.
  /// - Parameters:
  ///   - programs: paths of programs; each appears at its own path, symbolic links followed.
  ///   - thisProgram: whether the running program, with the libraries it has loaded, is among them.
  ///   - kvm: whether `/dev/kvm` is there.
  /// - Returns: the mounts, for further ones to be appended.
  public static func system(programs: [String], thisProgram: Bool = false, kvm: Bool = false) -> [Mount] {
    var builder = Builder()
    builder.mounts = [.processes, .directory("/tmp", mode: 0o755)]
    for device in ["null", "zero", "urandom", "random"] + (kvm ? ["kvm"] : []) {
      builder.mounts.append(.bind(source: "/dev/\(device)", target: "/dev/\(device)", [.writable, .devices]))
    }
    // Where /bin, /lib and so on are links into /usr (merged /usr) the links are mirrored.
    for path in ["/bin", "/sbin", "/lib", "/lib32", "/lib64"] {
      if let text = linkText(path) {
        builder.mounts.append(.symbolicLink(path, to: text))
      } else if path.hasPrefix("/lib") {
        builder.addDirectory(path)
      }
    }
    builder.addDirectory("/usr/lib")
    builder.addDirectory("/usr/lib64")
    builder.addDirectory("/usr/libexec/qemu")
    for firmware in ["/usr/share/qemu", "/usr/share/seabios"] { builder.addDirectory(firmware, executable: false) }
    builder.addFile("/etc/ld.so.cache", executable: false)
    for program in programs { builder.addFile(program) }
    if thisProgram {
      builder.addFile(realPath("/proc/self/exe") ?? "")
      for directory in mappedLibraryDirectories() { builder.addDirectory(directory) }
    }
    return builder.mounts
  }

  /// A host's file or directory at the same path in the new root.
  public static func same(_ path: String, _ options: BindOptions = []) -> Mount {
    .bind(source: realPath(path) ?? path, target: path, options)
  }

  private struct Builder {
    var mounts: [Mount] = []
    private var directories: [String] = []
    private var files: Set<String> = []

    mutating func addDirectory(_ path: String, executable: Bool = true) {
      guard let real = realPath(path), isPath(real, S_IFDIR), !covers(real) else { return }
      directories.append(real)
      mounts.append(.bind(source: real, target: real, executable ? .executable : []))
    }

    mutating func addFile(_ path: String, executable: Bool = true) {
      guard let real = realPath(path), isPath(real, S_IFREG) else { return }
      if !covers(real), files.insert(real).inserted {
        mounts.append(.bind(source: real, target: real, executable ? .executable : []))
      }
      // The name that it is called by, where that is a link (and not one by way of /bin and its like).
      let shown = canonicalParent(path)
      if shown != real, !covers(shown), files.insert(shown).inserted {
        mounts.append(.bind(source: real, target: shown, executable ? .executable : []))
      }
    }

    private func covers(_ path: String) -> Bool {
      directories.contains { path == $0 || path.hasPrefix($0 + "/") }
    }
  }

  /// The path with its directory's links followed and its last name kept.
  private static func canonicalParent(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return path }
    guard let directory = realPath(String(path[..<slash])) else { return path }
    return (directory == "/" ? "" : directory) + path[slash...]
  }

  /// The directories of the shared libraries that this process has loaded, as /proc/self/maps tells.
  private static func mappedLibraryDirectories() -> [String] {
    guard let maps = try? readSmallFile("/proc/self/maps", limit: 4 << 20) else { return [] }
    var found: [String] = []
    for line in maps.split(separator: "\n") {
      guard let start = line.firstIndex(of: "/"), line.contains(".so"), let slash = line.lastIndex(of: "/") else {
        continue
      }
      let directory = String(line[start..<slash])
      if !found.contains(directory) { found.append(directory) }
    }
    return found
  }
}

/// The text of a symbolic link; nil for anything else.
func linkText(_ path: String) -> String? {
  var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
  let count = readlink(path, &buffer, buffer.count)
  guard count > 0 else { return nil }
  return String(decoding: buffer[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// The path with every link followed; nil where it does not exist.
public func realPath(_ path: String) -> String? {
  guard let resolved = realpath(path, nil) else { return nil }
  defer { free(resolved) }
  return String(cString: resolved)
}

private func isPath(_ path: String, _ type: mode_t) -> Bool {
  var info = stat()
  return stat(path, &info) == 0 && info.st_mode & S_IFMT == type
}

/// A small file whole, as text; `limit` bytes at most are read.
public func readSmallFile(_ path: String, limit: Int = 64 << 10) throws(SystemError) -> String {
  let file = try FileDescriptor.open(path, O_RDONLY)
  var content: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 16 << 10)
  while content.count < limit {
    let count = try retrying("read \(path)") { read(file.number, &buffer, min(buffer.count, limit - content.count)) }
    if count == 0 { break }
    content.append(contentsOf: buffer[0..<count])
  }
  return String(decoding: content, as: UTF8.self)
}
