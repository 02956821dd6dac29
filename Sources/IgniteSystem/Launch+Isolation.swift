internal import CIgniteSystem
internal import Glibc

/// A root file system that holds only what is listed here, and a user without rights.
///
/// The root is a small tmpfs, read-only once it is made; the program has no capabilities and cannot gain any.
public struct Isolation: Sendable, Equatable {
  /// Something in the new root. Targets are absolute; directories above them are made, mode 0755.
  public enum Mount: Sendable, Equatable {
    /// A file or directory of the host, whose type decides the mount point's. Its last name is no symbolic link.
    case bind(source: String, target: String, BindOptions)
    /// An empty directory on the read-only root.
    case directory(String, mode: UInt32)
    case symbolicLink(String, to: String)
    /// A tmpfs for the program's own use, of at most `size` bytes.
    case temporary(String, size: UInt64, mode: UInt32)
    /// proc, showing processes of the same user only and nothing of the host (`hidepid=invisible,subset=pid`).
    ///
    /// Swift and QEMU read `/proc/self`; the supervisor reads its children's start time; passt finds its own program.
    case processes
  }

  /// What a bind mount allows. set-user-id programs never take effect.
  public struct BindOptions: OptionSet, Sendable, Equatable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let writable = BindOptions(rawValue: 1)
    public static let executable = BindOptions(rawValue: 2)
    public static let devices = BindOptions(rawValue: 4)
  }

  public var uid: UInt32
  public var gid: UInt32
  public var mounts: [Mount]
  /// The root's own bytes at most; it carries names only.
  public var rootSize: UInt64

  public init(uid: UInt32, gid: UInt32, mounts: [Mount], rootSize: UInt64 = 1 << 20) {
    self.uid = uid
    self.gid = gid
    self.mounts = mounts
    self.rootSize = rootSize
  }

  /// One instruction for the C side.
  struct PlannedMount: Equatable {
    enum Kind: Equatable { case directory, file, symbolicLink, bind, processes, temporary }

    var kind: Kind
    var mode: UInt32 = 0o755
    var flags: UInt64 = 0
    var source: String = ""
    /// Without the leading slash.
    var target: String
  }

  /// Directories from the top down, then files and links, then mounts, outer ones before those inside them.
  func mountPlan() -> [PlannedMount] {
    var made: Set<String> = []
    var makes: [PlannedMount] = []
    var binds: [PlannedMount] = []

    func make(_ plan: PlannedMount) {
      let parts = plan.target.split(separator: "/")
      var path = ""
      for part in parts.dropLast() {
        path += path.isEmpty ? String(part) : "/\(part)"
        if made.insert(path).inserted { makes.append(PlannedMount(kind: .directory, target: path)) }
      }
      if made.insert(plan.target).inserted { makes.append(plan) }
    }

    for mount in mounts {
      switch mount {
      case .bind(let source, let target, let options):
        let target = Self.relative(target)
        let kind: PlannedMount.Kind = Self.isDirectory(source) ? .directory : .file
        make(PlannedMount(kind: kind, mode: kind == .file ? 0o444 : 0o755, target: target))
        binds.append(PlannedMount(kind: .bind, flags: options.flags, source: source, target: target))
      case .directory(let path, let mode):
        make(PlannedMount(kind: .directory, mode: mode, target: Self.relative(path)))
      case .symbolicLink(let path, let text):
        make(PlannedMount(kind: .symbolicLink, source: text, target: Self.relative(path)))
      case .temporary(let path, let size, let mode):
        let target = Self.relative(path)
        make(PlannedMount(kind: .directory, target: target))
        let flags = UInt64(MS_NOSUID | MS_NODEV | MS_NOEXEC)
        let options = "size=\(size),nr_inodes=4096,mode=0\(String(mode, radix: 8)),uid=\(uid),gid=\(gid)"
        binds.append(PlannedMount(kind: .temporary, flags: flags, source: options, target: target))
      case .processes:
        make(PlannedMount(kind: .directory, target: "proc"))
        binds.append(PlannedMount(kind: .processes, target: "proc"))
      }
    }
    let depth = { (plan: PlannedMount) in plan.target.split(separator: "/").count }
    // A stable order: Swift's sort keeps equals in place.
    return makes + binds.sorted { depth($0) < depth($1) }
  }

  /// The groups that the devices of the root are open to and other users are not, as `kvm` for /dev/kvm: the only
  /// groups that the program is in beside its own.
  func deviceGroups() -> [UInt32] {
    var groups: Set<UInt32> = []
    for case .bind(let source, _, let options) in mounts where options.contains([.devices, .writable]) {
      var info = stat()
      guard lstat(source, &info) == 0, info.st_mode & S_IFMT == S_IFCHR else { continue }
      if info.st_gid != 0, info.st_mode & 0o060 == 0o060, info.st_mode & 0o006 != 0o006 { groups.insert(info.st_gid) }
    }
    return groups.sorted()
  }

  /// A target as the C side takes it: no leading, doubled or trailing slash, no `.` or `..`.
  private static func relative(_ path: String) -> String {
    path.split(separator: "/").filter { $0 != "." && $0 != ".." }.joined(separator: "/")
  }

  private static func isDirectory(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }
}

extension Isolation.PlannedMount.Kind {
  var rawValue: UInt32 {
    switch self {
    case .directory: IGNITE_MOUNT_DIRECTORY.rawValue
    case .file: IGNITE_MOUNT_FILE.rawValue
    case .symbolicLink: IGNITE_MOUNT_SYMLINK.rawValue
    case .bind: IGNITE_MOUNT_BIND.rawValue
    case .processes: IGNITE_MOUNT_PROC.rawValue
    case .temporary: IGNITE_MOUNT_TMPFS.rawValue
    }
  }
}

extension Isolation.BindOptions {
  fileprivate var flags: UInt64 {
    var flags = UInt64(MS_NOSUID)
    if !contains(.writable) { flags |= UInt64(MS_RDONLY) }
    if !contains(.executable) { flags |= UInt64(MS_NOEXEC) }
    if !contains(.devices) { flags |= UInt64(MS_NODEV) }
    return flags
  }
}
