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
    let home: String
    switch self.home() {
    case .success(let path): home = path
    case .failure(let reason): return .unavailable(reason: reason.text)
    }
    for path in [home, "\(home)/\(name)"] where mkdir(path, 0o755) != 0 && errno != EEXIST {
      return .unavailable(reason: "cannot make \(path): \(SystemError.text(of: errno))")
    }
    let path = "\(home)/\(name)"
    guard access("\(path)/cgroup.procs", W_OK) == 0 else {
      return .unavailable(reason: "cannot write to \(path)/cgroup.procs: \(SystemError.text(of: errno))")
    }
    return .created(Cgroup(path: path))
  }

  /// Why there is no place for cgroups.
  struct NoHome: Error { var text: String }

  /// Where this user's cgroups of VMs are: `ignite` at the root as root, and in the subtree that is his as an ordinary user to
  /// whom systemd, or root, has delegated one (https://systemd.io/CGROUP_DELEGATION, "Delegation"). Blocking.
  static func home() -> Result<String, NoHome> {
    guard let root = hierarchy() else { return .failure(NoHome(text: "no cgroup v2 hierarchy is mounted")) }
    guard getuid() != 0 else { return .success("\(root)/ignite") }
    guard let own = try? readSmallFile("/proc/self/cgroup", limit: 1 << 16),
      let delegated = delegated(
        below: root, own: own, isOwn: { access("\($0)/cgroup.procs", W_OK) == 0 && access($0, W_OK) == 0 })
    else {
      return .failure(NoHome(text: "no cgroup is delegated to this user (systemd-run --user --scope delegates one)"))
    }
    return .success("\(delegated)/ignite")
  }

  /// The topmost cgroup above a process, or its own, that is the user's; nil where none is. A process is moved between cgroups
  /// by who may write to one that is above both.
  static func delegated(below root: String, own: String, isOwn: (String) -> Bool) -> String? {
    // cgroups(7), /proc/PID/cgroup: `0::/path` is the one in the v2 hierarchy.
    guard let line = own.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }) else { return nil }
    var path = root
    for name in line.dropFirst(4).split(separator: "/") {
      guard name != ".." else { return nil }
      path += "/\(name)"
      if isOwn(path) { return path }
    }
    return nil
  }

  /// Why this user's VMs can have no cgroups; nil where they can. Blocking.
  public static func reasonForNone() -> String? {
    if case .failure(let reason) = home() { return reason.text }
    return nil
  }

  /// Where the cgroup of that name is to be; nil where there is no place. Blocking.
  public static func place(of name: String) -> String? { (try? home().get()).map { "\($0)/\(name)" } }

  /// The cgroup of that name, where there is one. Blocking.
  public static func find(_ name: String) -> Cgroup? {
    guard let path = place(of: name), access(path, F_OK) == 0 else { return nil }
    return Cgroup(path: path)
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
