public import FoundationEssentials
internal import Glibc
public import IgniteAPI
public import IgniteSupervisor
internal import IgniteSystem

/// Which of a VM's log is wanted.
public struct LogRequest: Sendable {
  /// At most so many lines, the last ones; nil is all.
  public var last: Int?
  /// What comes until the VM ends, too.
  public var follow: Bool
  public var since: Date?
  /// Following ends when it has come.
  public var until: Date?

  public init(last: Int?, follow: Bool) {
    self.last = last
    self.follow = follow
  }

  func suits(_ record: LogRecord) -> Bool {
    (since.map { record.time >= $0 } ?? true) && (until.map { record.time < $0 } ?? true)
  }
}

extension Engine {
  /// The VM's log: what its process wrote, oldest first.
  ///
  /// The files belong to the VM's user, so they are read with care: no links, regular files only, lines bounded.
  public func logs(_ vm: VM, _ request: LogRequest, _ body: @Sendable (LogRecord) -> Void) async throws {
    var reader = LogReader(path: paths.log(vm.metadata.uid))
    var records = try await reader.rest().filter(request.suits)
    if let last = request.last { records = records.suffix(max(0, last)) }
    records.forEach(body)
    try await follow(vm, request) { try await reader.rest().filter(request.suits).forEach(body) }
  }

  /// What the machine's console said, as it came.
  public func consoleLog(_ vm: VM, _ request: LogRequest, _ body: @Sendable ([UInt8]) -> Void) async throws {
    var reader = LogReader(path: paths.vmData(vm.metadata.uid) + "/console.log")
    var bytes = try await reader.restOfBytes()
    if let last = request.last { bytes = Self.lastLines(last, of: bytes) }
    body(bytes)
    try await follow(vm, request) {
      let bytes = try await reader.restOfBytes()
      if !bytes.isEmpty { body(bytes) }
    }
  }

  private func follow(_ vm: VM, _ request: LogRequest, _ readOn: () async throws -> Void) async throws {
    guard request.follow, vm.status.phase.isActive else { return }
    let lock = paths.vmLock(vm.metadata.uid)
    while true {
      // Whether it has ended is asked before the rest is read, so that nothing written until then is missed.
      var ended = !FileLock.isHeld(lock)
      // Where its supervisor was lost, another one takes its place now.
      if ended, let now = try? await self.vm(vm.metadata.uid), now.status.phase.isActive { ended = false }
      if let until = request.until, Date() >= until { ended = true }
      try await readOn()
      if ended { return }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  static func lastLines(_ count: Int, of bytes: [UInt8]) -> [UInt8] {
    guard count > 0 else { return [] }
    // The last line's end is none of another line's beginning.
    var left = count
    var index = bytes.count - 1
    while index > 0 {
      if bytes[index - 1] == 10 {
        left -= 1
        if left == 0 { return Array(bytes[index...]) }
      }
      index -= 1
    }
    return bytes
  }
}
