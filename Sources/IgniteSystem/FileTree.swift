internal import CIgniteSystem
internal import Glibc

/// Directory trees whose content is not trusted.
public enum FileTree {
  /// Removes a file, or a directory with all that is in it, following no symbolic link. Blocking.
  ///
  /// What is not there is no error.
  public static func remove(_ path: String) throws(SystemError) {
    try remove(in: AT_FDCWD, name: path, path: path, depth: 0)
  }

  private static let maximumDepth = 64

  private static func remove(in directory: Int32, name: String, path: String, depth: Int) throws(SystemError) {
    if unlinkat(directory, name, 0) == 0 || errno == ENOENT { return }
    guard errno == EISDIR || errno == EPERM || errno == ENOTEMPTY else { throw SystemError("remove \(path)") }
    guard depth < maximumDepth else { throw SystemError("remove \(path)", code: ELOOP) }
    let number = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard number >= 0 else { throw SystemError("open \(path)") }
    guard let stream = fdopendir(number) else {
      close(number)
      throw SystemError("read \(path)")
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let child = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if child == "." || child == ".." { continue }
      try remove(in: number, name: child, path: "\(path)/\(child)", depth: depth + 1)
    }
    if unlinkat(directory, name, AT_REMOVEDIR) != 0 && errno != ENOENT { throw SystemError("remove \(path)") }
  }

  /// One file or directory of a tree.
  public struct Entry: Sendable {
    /// Below the tree's root; empty for the root itself.
    public var path: String
    public var isDirectory: Bool
    /// What it takes on the file system. A file that is met again by another of its hard links takes nothing then.
    public var bytes: Int64
  }

  /// Visits a directory and all below it, each directory ahead of what is in it, following no symbolic link and leaving
  /// out what vanishes meanwhile. Blocking.
  public static func walk(_ path: String, _ visit: (Entry) -> Void) throws(SystemError) {
    var links: Set<[UInt64]> = []
    try walk(in: AT_FDCWD, name: path, path: "", depth: 0, &links, visit)
  }

  private static func walk(
    in directory: Int32, name: String, path: String, depth: Int, _ links: inout Set<[UInt64]>, _ visit: (Entry) -> Void
  ) throws(SystemError) {
    var status = stat()
    if fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0 {
      if errno == ENOENT { return }
      throw SystemError("read \(path.isEmpty ? name : path)")
    }
    let isDirectory = status.st_mode & S_IFMT == S_IFDIR
    let isFirst =
      isDirectory || status.st_nlink < 2 || links.insert([UInt64(status.st_dev), UInt64(status.st_ino)]).inserted
    visit(Entry(path: path, isDirectory: isDirectory, bytes: isFirst ? Int64(status.st_blocks) * 512 : 0))
    guard isDirectory, depth < maximumDepth else { return }
    let number = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    if number < 0, errno == ENOENT { return }
    guard number >= 0 else { throw SystemError("read \(path.isEmpty ? name : path)") }
    guard let stream = fdopendir(number) else {
      close(number)
      throw SystemError("read \(path.isEmpty ? name : path)")
    }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let child = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if child == "." || child == ".." { continue }
      let below = path.isEmpty ? child : "\(path)/\(child)"
      try walk(in: number, name: child, path: below, depth: depth + 1, &links, visit)
    }
  }
}
