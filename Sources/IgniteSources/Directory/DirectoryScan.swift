internal import Glibc
internal import IgniteSystem

/// What a directory's tree has at one moment. All calls are blocking.
struct DirectoryScan: Sendable, Equatable {
  /// By which a file that was changed, or replaced by another, is told from what it was.
  struct Mark: Sendable, Equatable {
    var device: UInt64
    var inode: UInt64
    var size: Int
    /// Nanoseconds since 1970: of the last change of content, and of anything.
    var modified: Int64
    var changed: Int64

    init(_ info: stat) {
      device = UInt64(info.st_dev)
      inode = UInt64(info.st_ino)
      size = Int(info.st_size)
      modified = Int64(info.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(info.st_mtim.tv_nsec)
      changed = Int64(info.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(info.st_ctim.tv_nsec)
    }
  }

  /// Files that are to be read, by their paths.
  private(set) var files: [String: Mark] = [:]
  /// The root, "", among them.
  private(set) var directories: [String: Mark] = [:]
  private(set) var omissions: [ArtifactHeader.Omission] = []
  private var entries = 0

  private static let mostLevels = 32

  /// - Throws: SourceError; `notFound` where the directory is not there.
  init(_ root: String, limits: SourceLimits) throws(SourceError) {
    let number = Glibc.open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw Self.error(root, errno) }
    try scan(FileDescriptor(number), "", root, limits, levels: 0)
  }

  static func error(_ path: String, _ code: Int32) -> SourceError {
    let message = SystemError("read \(path)", code: code).message
    return switch code {
    case ENOENT, ENOTDIR: SourceError(.notFound, message, advice: "make the directory; it is looked for meanwhile")
    case EACCES, EPERM: SourceError(.authentication, message, advice: "let the user that ignite runs as read it")
    default: SourceError(.fileSystem, message)
    }
  }

  /// Who may write a manifest may have VMs made, and directories of the host mounted in them, as the user that this runs as.
  private static func checkWriters(_ info: stat, _ place: String) throws(SourceError) {
    guard info.st_uid == 0 || info.st_uid == geteuid() else {
      throw SourceError(
        .badSource, "\(place) belongs to user \(info.st_uid), not to user \(geteuid()) or root",
        advice: "chown what may be trusted: a manifest can mount any directory of the host in a VM")
    }
    guard info.st_mode & S_IWOTH == 0 else {
      throw SourceError(
        .badSource, "\(place) can be written by everybody",
        advice: "chmod o-w: a manifest can mount any directory of the host in a VM")
    }
  }

  private mutating func scan(
    _ directory: FileDescriptor, _ path: String, _ root: String, _ limits: SourceLimits, levels: Int
  ) throws(SourceError) {
    let place = path.isEmpty ? root : "\(root)/\(path)"
    var info = stat()
    guard fstat(directory.number, &info) == 0 else { throw Self.error(place, errno) }
    try Self.checkWriters(info, place)
    directories[path] = Mark(info)
    for bytes in try Self.names(directory, place, atMost: limits.entries + 1) {
      entries += 1
      try SourceLimits.Count(limits, place: root).checkEntries(entries)
      guard let name = String(validating: bytes, as: UTF8.self), !Words.hasControl(name) else {
        let shown = Words.clean(String(decoding: bytes, as: UTF8.self))
        if SourcePaths.isManifest(shown) { omissions.append(.init(path: shown, reason: .badName)) }
        continue
      }
      guard !name.hasPrefix(".") else { continue }
      let below = path.isEmpty ? name : "\(path)/\(name)"
      // What goes meanwhile is no longer there.
      guard fstatat(directory.number, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      switch info.st_mode & S_IFMT {
      case S_IFDIR:
        guard levels < Self.mostLevels else {
          throw SourceError(.tooLarge, "\(root) has directories more than \(Self.mostLevels) deep")
        }
        let number = openat(directory.number, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if number < 0 {
          if errno == ENOENT || errno == ENOTDIR || errno == ELOOP { continue }
          throw Self.error("\(root)/\(below)", errno)
        }
        try scan(FileDescriptor(number), below, root, limits, levels: levels + 1)
      case S_IFREG:
        guard SourcePaths.isManifest(below) else { continue }
        try Self.checkWriters(info, "\(root)/\(below)")
        files[below] = Mark(info)
      case S_IFLNK:
        omissions.append(.init(path: below, reason: .symbolicLink))
      default:
        if SourcePaths.isManifest(below) { omissions.append(.init(path: below, reason: .special)) }
      }
    }
  }

  private static func names(
    _ directory: FileDescriptor, _ place: String, atMost most: Int
  ) throws(SourceError) -> [[UInt8]] {
    let copy = fcntl(directory.number, F_DUPFD_CLOEXEC, 3)
    guard copy >= 0, let stream = fdopendir(copy) else { throw error(place, errno) }
    defer { closedir(stream) }
    var names: [[UInt8]] = []
    while names.count < most, let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: UInt8.self, capacity: 256) { start in
          Array(UnsafeBufferPointer(start: start, count: strnlen(start, 256)))
        }
      }
      if name != [0x2e], name != [0x2e, 0x2e] { names.append(name) }
    }
    return names
  }

  /// The newest change of a file or directory.
  var newest: Int64 {
    max(
      files.values.lazy.map { max($0.modified, $0.changed) }.max() ?? 0,
      directories.values.lazy.map(\.modified).max() ?? 0)
  }

  /// Reads a file that this scan has found; nil where it is not the same any more.
  func read(_ path: String, in root: String, limits: SourceLimits) throws(SourceError) -> [UInt8]? {
    guard let mark = files[path] else { return nil }
    var directory = FileDescriptor(Glibc.open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    let parts = path.split(separator: "/").map(String.init)
    for part in parts.dropLast() {
      directory = FileDescriptor(openat(directory.number, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
    }
    // A pipe that took the file's place must not hold us.
    let file = FileDescriptor(
      openat(directory.number, parts.last ?? "", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC))
    if file.number < 0 {
      if errno == EACCES || errno == EPERM { throw Self.error("\(root)/\(path)", errno) }
      return nil
    }
    var info = stat()
    guard fstat(file.number, &info) == 0, Mark(info) == mark else { return nil }
    let bytes: [UInt8]
    do {
      bytes = try readWhole(file, "\(root)/\(path)", limit: limits.fileBytes)
    } catch {
      if error.code == EFBIG { return nil }
      throw SourceError(error)
    }
    guard fstat(file.number, &info) == 0, Mark(info) == mark, bytes.count == mark.size else { return nil }
    return bytes
  }
}
