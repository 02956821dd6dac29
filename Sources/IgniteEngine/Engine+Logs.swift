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

/// Reads a log as it grows, and as it is turned over to `<path>.1`.
private struct LogReader: Sendable {
  private let path: String
  private var file: FileDescriptor?
  private var pending: [UInt8] = []
  private static let maximumLine = 1 << 20

  init(path: String) { self.path = path }

  mutating func rest() async throws -> [LogRecord] {
    var records: [LogRecord] = []
    if file == nil {
      // The first look: what was turned over comes before.
      for number in older { if let old = open("\(path).\(number)") { records += try await read(old) } }
      pending = []
      file = open(path)
    }
    guard let file else { return records }
    records += try await read(file)
    guard wasTurnedOver(file) else { return records }
    records += try await read(file)
    pending = []
    // It may have been turned over several times since the last look.
    for number in newer(than: file) { if let old = open("\(path).\(number)") { records += try await read(old) } }
    if let fresh = open(path) {
      self.file = fresh
      pending = []
      records += try await read(fresh)
    }
    return records
  }

  /// The numbers of files that were turned over, the oldest first.
  private var older: [Int] {
    (1...Int(EngineConfiguration.Logs.counts.upperBound)).filter { access("\(path).\($0)", F_OK) == 0 }.reversed()
  }

  /// The numbers of those that came after `file`.
  private func newer(than file: FileDescriptor) -> [Int] {
    var mine = stat()
    guard fstat(file.number, &mine) == 0 else { return [] }
    var numbers: [Int] = []
    for number in older.reversed() {
      var named = stat()
      if lstat("\(path).\(number)", &named) == 0, named.st_ino == mine.st_ino { return numbers.reversed() }
      numbers.append(number)
    }
    // It has gone itself: all that are there came after it.
    return numbers.reversed()
  }

  /// All that is there and was not read yet, whatever it is.
  mutating func restOfBytes() async throws -> [UInt8] {
    var bytes: [UInt8] = []
    if file == nil {
      if let older = open(path + ".1") { bytes += try await readBytes(older) }
      file = open(path)
    }
    guard let file else { return bytes }
    bytes += try await readBytes(file)
    if wasTurnedOver(file), let fresh = open(path) {
      self.file = fresh
      bytes += try await readBytes(fresh)
    }
    return bytes
  }

  private func readBytes(_ file: FileDescriptor) async throws -> [UInt8] {
    let number = file.number
    return try await ThreadExecutor.run { () throws(SystemError) -> [UInt8] in
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 18)
      // The two files of a console are bounded.
      while bytes.count < 16 << 20 {
        let count = try retrying("read the console's log") { Glibc.read(number, &buffer, buffer.count) }
        if count == 0 { break }
        bytes += buffer.prefix(count)
      }
      return bytes
    }
  }

  private func open(_ path: String) -> FileDescriptor? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return nil }
    var status = stat()
    guard fstat(file.number, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return file
  }

  private func wasTurnedOver(_ file: FileDescriptor) -> Bool {
    var mine = stat()
    var named = stat()
    guard fstat(file.number, &mine) == 0, lstat(path, &named) == 0 else { return false }
    return mine.st_ino != named.st_ino
  }

  private mutating func read(_ file: FileDescriptor) async throws -> [LogRecord] {
    let number = file.number
    var records: [LogRecord] = []
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .custom { decoder in
      let text = try decoder.singleValueContainer().decode(String.self)
      return (try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))) ?? Date.distantPast
    }
    while true {
      let bytes = try await ThreadExecutor.run { () throws(SystemError) -> [UInt8] in
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        let count = try retrying("read the log") { Glibc.read(number, &buffer, buffer.count) }
        return Array(buffer.prefix(count))
      }
      if bytes.isEmpty { return records }
      pending += bytes
      var begin = 0
      while let end = pending[begin...].firstIndex(of: 10) {
        if let record = try? decoder.decode(LogRecord.self, from: Data(pending[begin..<end])) { records.append(record) }
        begin = end + 1
      }
      pending.removeFirst(begin)
      if pending.count > Self.maximumLine { pending = [] }
    }
  }
}
