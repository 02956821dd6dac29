internal import CIgniteSystem
internal import Glibc

/// A cgroup of the v2 hierarchy: the processes of one VM, to be counted, limited and ended together.
public struct Cgroup: Sendable, Equatable {
  /// What `create` came to.
  public enum Creation: Sendable, Equatable {
    case created(Cgroup)
    /// There is none for this user or on this host, and why.
    case unavailable(reason: String)

    public var cgroup: Cgroup? {
      if case .created(let cgroup) = self { return cgroup }
      return nil
    }
  }

  /// The directory, as `/sys/fs/cgroup/ignite/0123456789abcdef`.
  public var path: String

  public init(path: String) { self.path = path }

  /// Makes (or takes up) the cgroup `ignite/<name>`. Blocking.
  /// - Parameter name: letters, digits and hyphens.
  public static func create(_ name: String) -> Creation {
    guard !name.isEmpty, name.utf8.count <= 64,
      name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
    else { return .unavailable(reason: "\"\(name)\" is no name for a cgroup") }
    guard let root = hierarchy() else { return .unavailable(reason: "no cgroup v2 hierarchy is mounted") }
    for path in ["\(root)/ignite", "\(root)/ignite/\(name)"] where mkdir(path, 0o755) != 0 && errno != EEXIST {
      return .unavailable(reason: "cannot make \(path): \(SystemError.text(of: errno))")
    }
    let path = "\(root)/ignite/\(name)"
    guard access("\(path)/cgroup.procs", W_OK) == 0 else {
      return .unavailable(reason: "cannot write to \(path)/cgroup.procs: \(SystemError.text(of: errno))")
    }
    return .created(Cgroup(path: path))
  }

  /// Where the v2 hierarchy is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside v1; nil without one.
  public static func hierarchy() -> String? {
    guard let text = try? readSmallFile("/proc/self/mountinfo", limit: 1 << 20) else { return nil }
    return hierarchy(mountinfo: text)
  }

  /// proc(5), mountinfo: the mount point is field 5; the type follows a lone hyphen.
  static func hierarchy(mountinfo: String) -> String? {
    for line in mountinfo.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let hyphen = fields.firstIndex(of: "-"), hyphen + 1 < fields.count, fields.count > 4 else { continue }
      if fields[hyphen + 1] == "cgroup2" { return String(fields[4]) }
    }
    return nil
  }

  /// The processes in it. Blocking.
  public func members() throws(SystemError) -> [Int32] {
    try readSmallFile("\(path)/cgroup.procs", limit: 1 << 20).split(separator: "\n").compactMap { Int32($0) }
  }

  /// Ends all processes in it by SIGKILL (cgroup.kill, Linux 5.14; one by one before). Blocking.
  public func kill() throws(SystemError) {
    do throws(SystemError) {
      let file = try FileDescriptor.open("\(path)/cgroup.kill", O_WRONLY)
      try retrying("write \(path)/cgroup.kill") { write(file.number, "1", 1) }
    } catch {
      guard error.code == ENOENT || error.code == EACCES else { throw error }
      // A process may fork between two looks: look until none is left, and not for ever.
      for _ in 0..<100 {
        let members = try members()
        if members.isEmpty { return }
        for pid in members where pid > 1 { _ = Glibc.kill(pid, SIGKILL) }
      }
    }
  }

  /// Removes it; it must be empty. One that is gone is no error. Blocking.
  public func remove() throws(SystemError) {
    for other in otherPaths where rmdir(other) != 0 && errno != ENOENT { throw SystemError("remove cgroup \(other)") }
    if rmdir(path) != 0, errno != ENOENT { throw SystemError("remove cgroup \(path)") }
  }

  func openMembers() throws(SystemError) -> [FileDescriptor] {
    try ([path] + otherPaths).map { path throws(SystemError) in
      try FileDescriptor.open("\(path)/cgroup.procs", O_WRONLY)
    }
  }
}
