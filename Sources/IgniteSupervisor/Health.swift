public import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// What a VM's health check has found; kept in `vms/<uid>/health.json`.
public struct HealthReport: Codable, Equatable, Sendable {
  public enum Status: String, Codable, Sendable {
    case starting
    case healthy
    case unhealthy
  }

  /// One check.
  public struct Check: Codable, Equatable, Sendable {
    public var start: Date
    public var end: Date
    /// The program's exit status; -1 where it did not end in time.
    public var exitCode: Int32
    /// The first of what it wrote, as text.
    public var output: String
  }

  public var status = Status.starting
  /// Failures since the last success.
  public var failingStreak = 0
  /// The last ones, oldest first.
  public var log: [Check] = []

  static let keptChecks = 5
  /// Bytes of a check's output that are kept.
  static let keptOutput = 4096
  /// What a reader takes of the file, whose writer is the VM's user.
  private static let fileLimit = 1 << 18

  public init() {}

  /// Takes a check in.
  /// - Parameters:
  ///   - retries: so many failures one after the other make it unhealthy.
  ///   - isStarting: a failure does not count yet.
  mutating func add(_ check: Check, retries: Int, isStarting: Bool) {
    log.append(check)
    if log.count > Self.keptChecks { log.removeFirst(log.count - Self.keptChecks) }
    if check.exitCode == 0 {
      failingStreak = 0
      status = .healthy
    } else if !(isStarting && status == .starting) {
      failingStreak += 1
      if failingStreak >= retries { status = .unhealthy }
    }
  }

  /// Writes it beside the file and renames. Blocking.
  func write(_ path: String) {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .iso8601
    guard let bytes = try? encoder.encode(self) else { return }
    let new = path + ".new"
    guard let file = try? FileDescriptor.open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600) else {
      return
    }
    let written = bytes.withUnsafeBytes { Glibc.write(file.number, $0.baseAddress, $0.count) }
    if written != bytes.count || rename(new, path) != 0 { unlink(new) }
  }

  /// What a supervisor wrote; nil where it is none, or makes no sense. Blocking.
  public static func read(_ path: String) -> HealthReport? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return nil }
    var bytes = [UInt8](repeating: 0, count: fileLimit)
    let count = readAll(file.number, &bytes)
    guard count > 0, count < fileLimit else { return nil }
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    return try? decoder.decode(HealthReport.self, from: Data(bytes.prefix(count)))
  }
}
