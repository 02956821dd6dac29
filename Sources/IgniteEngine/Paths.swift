internal import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteSystem

/// Where state lies: the data root and the run root, and what is below them.
public struct Paths: Sendable, Equatable {
  public let data: String
  public let run: String
  /// The system's usual places, which root has where nothing else is said.
  public var isSystem: Bool { data == "/var/lib/ignite" && getuid() == 0 }

  /// Finds the roots: the flags, then IGNITE_DATA_DIR and IGNITE_RUN_DIR, then the places of the system (root) or of
  /// the user (XDG Base Directory Specification). With a data directory only, the run root is a short private
  /// directory named after it, so that no socket's path passes 107 bytes.
  public init(dataFlag: String?, runFlag: String?, environment: [String: String]) throws {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    let isRoot = getuid() == 0
    let home = value("HOME") ?? "/"
    let givenData = dataFlag ?? value("IGNITE_DATA_DIR")
    let data =
      givenData ?? (isRoot ? "/var/lib/ignite" : (value("XDG_DATA_HOME") ?? home + "/.local/share") + "/ignite")
    self.data = try Self.absolute(data)
    if let run = runFlag ?? value("IGNITE_RUN_DIR") {
      self.run = try Self.absolute(run)
    } else {
      let base = isRoot ? "/run/ignite" : value("XDG_RUNTIME_DIR").map { $0 + "/ignite" } ?? "/tmp/ignite-\(getuid())"
      run = givenData == nil ? base : "\(base)/\(Self.hash(self.data))"
    }
    // `<run>/vms/<12 digits>/console.sock` has to fit.
    guard run.utf8.count <= UnixSocket.maximumPathLength - 32 else {
      throw EngineError(
        .invalidArgument, "the run directory \(run) is too long for sockets below it",
        advice: "choose a shorter --run-dir")
    }
  }

  /// Makes both roots, private to the user, and checks that they are his.
  public func prepare() throws {
    try Self.makePrivate(data)
    for name in ["/vms", "/plans", "/disks", "/kernels", "/content", "/volumes"] { try Self.makePrivate(data + name) }
    // The parent may be one of ours in a directory that all can write to (/tmp).
    let parent = run.split(separator: "/").dropLast().joined(separator: "/")
    if parent.hasSuffix("ignite-\(getuid())") || parent.hasSuffix("/ignite") { try Self.makePrivate("/" + parent) }
    try Self.makePrivate(run)
    try Self.makePrivate(run + "/vms")
  }

  public func vmData(_ uid: String) -> String { "\(data)/vms/\(uid)" }
  public func vmRun(_ uid: String) -> String { "\(run)/vms/\(uid.prefix(12))" }
  public func vmLock(_ uid: String) -> String { "\(run)/vms/\(uid.prefix(12)).lock" }
  /// Held by who works on a declared object, of the title `VM/web`.
  public func objectLock(_ title: String) -> String {
    // An image's name has slashes of its own, and no percent sign.
    let parts = title.split(separator: "/", maxSplits: 1)
    return "\(run)/vms/" + parts.map { $0.split(separator: "/").joined(separator: "%") }.joined(separator: ".")
  }
  /// The artifacts of a GitOps source, and what is being fetched.
  public func sourceArtifacts(_ uid: String) -> String { "\(data)/sources/\(uid)" }
  public var sourceWork: String { "\(data)/sources/work" }
  /// Where the daemons of its shares listen.
  public func vmShares(_ uid: String) -> String { "\(run)/vms/\(uid.prefix(12)).shares" }
  public func writableDisk(_ uid: String) -> String { vmData(uid) + "/disk.ext4" }
  /// What the engine itself trusts about a VM; unlike `vmData` the VM's user cannot write here.
  public func plans(_ uid: String) -> String { "\(data)/plans/\(uid)" }
  public func plan(_ uid: String) -> String { plans(uid) + "/spawn.json" }
  public func volume(_ uid: String) -> String { "\(data)/volumes/\(uid).ext4" }
  /// The image that the VM was made from.
  public func image(_ uid: String) -> String { plans(uid) + "/image.json" }
  public func journal(_ uid: String) -> String { vmData(uid) + "/journal" }
  public func log(_ uid: String) -> String { vmData(uid) + "/log" }

  /// Directories for the supervisor: mode 0700, the caller's own; others may pass through to what they are given.
  private static func makePrivate(_ path: String) throws {
    var built = ""
    for part in path.split(separator: "/") {
      built += "/" + part
      if mkdir(built, 0o700) != 0 && errno != EEXIST {
        throw SystemError("make the directory \(built)", advice: "choose another with --data-dir or --run-dir")
      }
    }
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw EngineError(.unavailable, "\(path) is not a directory", advice: "move it out of the way")
    }
    guard status.st_uid == getuid() else {
      throw EngineError(
        .unavailable, "\(path) belongs to user \(status.st_uid), not to you",
        advice: "remove it, or choose another with --data-dir or --run-dir")
    }
  }

  private static func absolute(_ path: String) throws -> String {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw EngineError(.invalidArgument, "an empty path is no directory")
    }
    if path.hasPrefix("/") { return path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path }
    return FileManager.default.currentDirectoryPath + "/" + path
  }

  /// FNV-1a in hexadecimal: a short name for a long path.
  private static func hash(_ text: String) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return String(hash, radix: 16)
  }
}

/// Where the program's own parts lie, found relative to the program itself.
public enum Installation {
  /// The running program's file.
  public static func executable() throws -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0 else { throw SystemError("read /proc/self/exe") }
    return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The guest's init: IGNITE_LIBEXEC, else `../libexec/ignite` of the program's directory.
  public static func guestInit(environment: [String: String]) throws -> String {
    let folder: String
    if let given = environment["IGNITE_LIBEXEC"], !given.isEmpty {
      folder = given
    } else {
      let program = try executable()
      folder = program.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/libexec/ignite"
    }
    let path = folder + "/ignite-init"
    guard access(path, R_OK) == 0 else {
      throw EngineError(
        .notFound, "the guest's init is not at \(path)",
        advice: "install ignite whole (`make install`), or name its folder in IGNITE_LIBEXEC")
    }
    return path
  }
}
