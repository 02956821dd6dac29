internal import CIgniteSystem
internal import Glibc

extension FileLock {
  /// The processes that have the file open, as far as the caller may look: a lock passes on with its descriptor, so
  /// /proc/locks tells who took it, and not who has it. Blocking.
  public static func holders(_ path: String) -> [ProcessIdentity] {
    var wanted = stat()
    guard stat(path, &wanted) == 0 else { return [] }
    return numbers(in: "/proc").filter { pid in
      pid != getpid()
        && numbers(in: "/proc/\(pid)/fd").contains { number in
          var info = stat()
          return stat("/proc/\(pid)/fd/\(number)", &info) == 0 && info.st_ino == wanted.st_ino
            && info.st_dev == wanted.st_dev
        }
    }.map { ProcessIdentity(pid: $0, startTime: ignite_start_time($0)) }
  }

  /// The names in a directory that are numbers.
  static func numbers(in directory: String) -> [Int32] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var found: [Int32] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if let number = Int32(name) { found.append(number) }
    }
    return found
  }
}

extension ProcessHandle {
  /// The caller's own processes that are `program` and have `argument` in one of their arguments. Blocking.
  public static func find(program: String, argument: String) -> [ProcessIdentity] {
    FileLock.numbers(in: "/proc").filter { pid in
      var info = stat()
      guard stat("/proc/\(pid)", &info) == 0, info.st_uid == getuid(),
        let text = try? readSmallFile("/proc/\(pid)/cmdline", limit: 1 << 20)
      else { return false }
      let words = text.split(separator: "\0")
      return words.first?.split(separator: "/").last.map(String.init) == program
        && words.contains { $0.contains(argument) }
    }.map { ProcessIdentity(pid: $0, startTime: ignite_start_time($0)) }
  }
}
