internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
public import IgniteSupervisor
internal import IgniteSystem

extension Engine {
  /// The VM's log: what its process wrote, oldest first, at most the `last` lines; with `follow` what comes until it ends.
  ///
  /// The files belong to the VM's user, so they are read with care: no links, regular files only, lines bounded.
  public func logs(
    _ vm: VM, last: Int?, follow: Bool, _ body: @Sendable (LogRecord) -> Void
  ) async throws {
    let path = paths.log(vm.metadata.uid)
    var reader = LogReader(path: path)
    var records = try await reader.rest()
    if let last { records = records.suffix(max(0, last)) }
    records.forEach(body)
    guard follow, vm.status.phase.isActive else { return }
    let lock = paths.vmLock(vm.metadata.uid)
    while true {
      // Whether it has ended is asked before the rest is read, so that nothing written until then is missed.
      var ended = FileLock.isHeld(lock) == false
      // Where its supervisor was lost, another one takes its place now.
      if ended, let now = try? await self.vm(vm.metadata.uid), now.status.phase.isActive { ended = false }
      try await reader.rest().forEach(body)
      if ended { return }
      try await Task.sleep(for: .milliseconds(50))
    }
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
      if let older = open(path + ".1") { records += try await read(older) }
      pending = []
      file = open(path)
    }
    guard let file else { return records }
    records += try await read(file)
    if wasTurnedOver(file), let fresh = open(path) {
      records += try await read(file)
      self.file = fresh
      pending = []
      records += try await read(fresh)
    }
    return records
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
