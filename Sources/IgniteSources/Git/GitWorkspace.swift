internal import Glibc
internal import IgniteSystem

/// A private directory for one fetch: an empty home, the credentials' files, a bare repository. All calls are blocking.
///
/// A lock tells that it is in use; what a killed process left behind has none, and is removed by whoever comes next.
struct GitWorkspace: Sendable {
  let path: String
  private let lock: PassingLock

  var repository: String { path + "/repository" }
  var home: String { path + "/home" }
  var scratch: String { path + "/scratch" }

  private static let prefix = "fetch-"

  /// - Parameter directory: made where it is not there, with mode 0700.
  static func make(in directory: String) throws(SystemError) -> GitWorkspace {
    try makePrivateDirectory(directory)
    removeLeftovers(in: directory)
    while true {
      let path = "\(directory)/\(prefix)\(String(UInt64.random(in: .min ... .max), radix: 36))"
      // First the lock, then the directory: one without a lock is nobody's.
      guard let lock = try PassingLock.take(path + ".lock") else { continue }
      let workspace = GitWorkspace(path: path, lock: lock)
      do {
        for made in [path, workspace.home, workspace.scratch, workspace.repository] { try makePrivateDirectory(made) }
        for made in ["objects", "refs"] { try makePrivateDirectory("\(workspace.repository)/\(made)") }
        try workspace.write(workspace.repository + "/HEAD", Array("ref: refs/heads/none\n".utf8))
        try workspace.configure(objectNameLength: 40)
      } catch {
        workspace.remove()
        throw error
      }
      return workspace
    }
  }

  /// Gives the repository a configuration of ours alone: after a fetch too, because git notes the server there, as one to
  /// ask for objects that are missing.
  func configure(objectNameLength: Int) throws(SystemError) {
    let isLong = objectNameLength == 64
    let text =
      "[core]\n\trepositoryformatversion = \(isLong ? 1 : 0)\n\tbare = true\n"
      + (isLong ? "[extensions]\n\tobjectformat = sha256\n" : "")
    unlink(repository + "/config")
    try write(repository + "/config", Array(text.utf8))
  }

  /// A new file that only its owner may read.
  func write(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError) {
    try writeNewFile(path, [bytes], mode: mode)
  }

  /// Whether git has been stopped by its limit on the size of a file.
  func hasFile(atLeast bytes: Int) -> Bool {
    var found = false
    // What a file takes on disk is whole blocks.
    try? FileTree.walk(repository + "/objects/pack") { entry in
      if !entry.isDirectory && entry.bytes >= bytes - 65536 { found = true }
    }
    return found
  }

  func remove() {
    try? FileTree.remove(path)
    lock.release()
  }

  private static func removeLeftovers(in directory: String) {
    for name in (try? directoryNames(directory)) ?? [] where name.hasPrefix(prefix) {
      let path = "\(directory)/\(name.hasSuffix(".lock") ? String(name.dropLast(5)) : name)"
      guard let taken = try? PassingLock.take(path + ".lock") else { continue }
      try? FileTree.remove(path)
      taken.release()
    }
  }
}

/// Makes a directory, and those above it, for its owner alone.
func makePrivateDirectory(_ path: String) throws(SystemError) {
  if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
  guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
    throw SystemError("make directory \(path)")
  }
  try makePrivateDirectory(String(path[..<slash]))
  if mkdir(path, 0o700) != 0, errno != EEXIST { throw SystemError("make directory \(path)") }
}

/// Writes a file that must not be there yet; `sync` has it on disk when this returns.
func writeNewFile(_ path: String, _ pieces: [[UInt8]], mode: UInt32 = 0o600, sync: Bool = false) throws(SystemError) {
  let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
  for piece in pieces {
    var offset = 0
    while offset < piece.count {
      offset += try retrying("write \(path)") {
        piece.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress?.advanced(by: offset), piece.count - offset) }
      }
    }
  }
  if sync { try retrying("write \(path)") { Int(fsync(file.number)) } }
}

/// The names in a directory, but `.` and `..`; those that are not UTF-8 are made so.
func directoryNames(_ path: String) throws(SystemError) -> [String] {
  guard let stream = opendir(path) else { throw SystemError("read \(path)") }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}
