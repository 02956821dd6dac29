internal import Glibc

/// A program to start, and all that it is given. What is not named is not there: no other descriptor, no capability,
/// no set-user-id on the way (no_new_privs), file mode mask 0077, no core files.
public struct LaunchRequest: Sendable {
  /// A descriptor that the program is given.
  public struct Descriptor: Sendable, Equatable {
    /// The caller's number; it stays the caller's.
    public var source: Int32
    /// The number in the program, 3 or more.
    public var place: Int32

    public init(source: Int32, place: Int32) {
      self.source = source
      self.place = place
    }
  }

  /// A limit by setrlimit(2).
  public struct Limit: Sendable, Equatable {
    public var resource: Int32
    public var soft: UInt64
    public var hard: UInt64

    public init(resource: Int32, soft: UInt64, hard: UInt64) {
      self.resource = resource
      self.soft = soft
      self.hard = hard
    }

    /// No core files: a guest's memory must not end up in one.
    public static let noCore = Limit(resource: Int32(RLIMIT_CORE.rawValue), soft: 0, hard: 0)

    /// At most `count` open files, or the hard limit of this process where that is lower.
    public static func openFiles(_ count: UInt64) -> Limit {
      var now = rlimit()
      let most = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &now) == 0 ? UInt64(now.rlim_max) : count
      return Limit(resource: Int32(RLIMIT_NOFILE.rawValue), soft: min(count, most), hard: min(count, most))
    }
  }

  /// The program's path; with an isolation, its path in the new root.
  public var executable: String
  /// All of argv, its first included.
  public var arguments: [String]
  public var environment: [String: String]
  /// Standard input, output and error; nil is /dev/null.
  public var standardInput: Int32?
  public var standardOutput: Int32?
  public var standardError: Int32?
  /// Further descriptors; their places must differ.
  public var descriptors: [Descriptor]
  /// Whether the program leads a session of its own, so that a terminal's end does not reach it.
  public var newSession: Bool
  /// Whether the program keeps the caller's capabilities and may gain more; for tools that work in the caller's name.
  public var keepsRights = false
  /// With an isolation, as the new root has it; nil leaves it, or is `/` there.
  public var workingDirectory: String?
  /// A root file system and a user of its own; needs root's rights.
  public var isolation: Isolation?
  /// The cgroup that the program is started in.
  public var cgroup: Cgroup?
  public var limits: [Limit]

  public init(
    executable: String, arguments: [String], environment: [String: String] = [:], standardInput: Int32? = nil,
    standardOutput: Int32? = nil, standardError: Int32? = nil, descriptors: [Descriptor] = [],
    newSession: Bool = false, workingDirectory: String? = nil, isolation: Isolation? = nil, cgroup: Cgroup? = nil,
    limits: [Limit] = [.noCore]
  ) {
    self.executable = executable
    self.arguments = arguments
    self.environment = environment
    self.standardInput = standardInput
    self.standardOutput = standardOutput
    self.standardError = standardError
    self.descriptors = descriptors
    self.newSession = newSession
    self.workingDirectory = workingDirectory
    self.isolation = isolation
    self.cgroup = cgroup
    self.limits = limits
  }
}
