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
}
