public import FoundationEssentials
internal import Glibc
public import IgniteSystem

/// One line of a VM's journal: what its supervisor saw. The engine folds the lines into the object's status.
public struct JournalEntry: Codable, Equatable, Sendable {
  public enum Event: String, Codable, Sendable {
    /// The supervisor has begun; `supervisor` tells its process, and `restarts` whether it is another start.
    case starting
    /// The hypervisor runs, and passt where the network is its.
    case booted
    /// The main process was executed.
    case running
    /// Its health check has come to another result; `health` tells it.
    case health
    /// The machine stands still, and goes on.
    case paused, resumed
    /// A successor has taken the place of a lost supervisor; `supervisor` tells its process.
    case adopted
    /// The main process has ended with `exitCode`.
    case exited
    /// The main process has ended with `exitCode`, or the VM broke down as `message` says; it is started again, for the
    /// `restarts`-th time.
    case restarting
    /// The VM could not start or broke down; `message` says why, `exitCode` what a command returns (125 to 127).
    case failed
  }

  public static let version = 1
  public var v = JournalEntry.version
  public var time: Date
  public var event: Event
  public var exitCode: Int32?
  public var message: String?
  public var restarts: Int?
  /// `starting`, `healthy` or `unhealthy`.
  public var health: String?
  public var supervisor: ProcessIdentity?
  public var hypervisor: ProcessIdentity?
  public var network: ProcessIdentity?
  /// The key of the template that the machine was thawed from.
  public var template: String?
  /// Of the command that started the VM, or of the one that this entry is due to.
  public var request: RequestID?

  public init(_ event: Event, time: Date = Date()) {
    self.event = event
    self.time = time
  }
}

/// Appends to a VM's journal: each entry a line of JSON, synced before the call returns.
///
/// A journal over `maximumSize` takes no more: a guest that restarts its process for ever cannot fill the disk.
public actor Journal {
  public static let maximumSize: Int64 = 1 << 20

  private let executor = ThreadExecutor(name: "ignite-journal")
  private let file: FileDescriptor

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  public init(path: String) throws(SystemError) {
    file = try FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600)
  }

  /// Begins anew where it has grown long: what comes next says all that counts. A reader that was further on than it is
  /// now begins anew, too.
  func shorten() {
    if lseek(file.number, 0, SEEK_END) > Self.maximumSize / 2 { _ = ftruncate(file.number, 0) }
  }

  /// Whether there is room for an entry that may come any number of times; what is left is for the others.
  func hasRoom() -> Bool { lseek(file.number, 0, SEEK_END) < Self.maximumSize / 4 * 3 }

  /// - Parameter waits: whether the entry is to be on stable storage when this returns. Other processes see it in any
  ///   case, whatever becomes of this one; only the host's own end may take it back.
  public func append(_ entry: JournalEntry, waits: Bool = true) throws {
    let encoder = JSONEncoder()
    encoder.dateEncodingStrategy = .fractional
    encoder.outputFormatting = [.withoutEscapingSlashes]
    var line = try encoder.encode(entry)
    line.append(10)
    let size = lseek(file.number, 0, SEEK_END)
    guard size + off_t(line.count) <= Self.maximumSize else { return }
    let written = line.withUnsafeBytes { write(file.number, $0.baseAddress, $0.count) }
    guard written == line.count else { throw SystemError("write the journal") }
    if waits {
      try sync()
    } else {
      // After whoever waits for this has gone on.
      Task { try? self.sync() }
    }
  }

  private func sync() throws(SystemError) {
    try retrying("sync the journal") { Int(fdatasync(file.number)) }
  }

  /// The entries from byte `offset` on, and the offset after the last whole line. Blocking.
  ///
  /// A line that is torn or not understood is passed over: it is a supervisor's, but its bytes are checked all the same.
  public static func read(path: String, from offset: UInt64) throws(SystemError) -> (
    entries: [JournalEntry], offset: UInt64
  ) {
    let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    let size = max(0, lseek(file.number, 0, SEEK_END))
    let left = UInt64(size) > offset ? UInt64(size) - offset : 0
    var bytes = [UInt8](repeating: 0, count: Int(min(left, UInt64(maximumSize))))
    let count = try retrying("read \(path)") { pread(file.number, &bytes, bytes.count, off_t(clamping: offset)) }
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .fractional
    var entries: [JournalEntry] = []
    var begin = 0
    while let end = bytes[begin..<count].firstIndex(of: 10) {
      if let entry = try? decoder.decode(JournalEntry.self, from: Data(bytes[begin..<end])) { entries.append(entry) }
      begin = end + 1
    }
    return (entries, offset + UInt64(begin))
  }
}
