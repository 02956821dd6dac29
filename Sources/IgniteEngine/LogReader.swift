internal import FoundationEssentials
internal import Glibc
internal import IgniteSupervisor
internal import IgniteSystem

/// Reads a log as it grows, and as it is turned over: the file that is full becomes `<path>.1`, that `<path>.2`, and so on.
///
/// From one file it goes on to the one that came after it, known by its place behind the inode that was read, so no turn is
/// missed however many there are between two looks, and whatever is renamed meanwhile.
struct LogReader: Sendable {
  private let path: String
  private var file: FileDescriptor?
  private var pending: [UInt8] = []
  private static let maximumLine = 1 << 20
  private static let most = Int(EngineConfiguration.Logs.counts.upperBound)

  init(path: String) { self.path = path }

  // MARK: What was not read yet

  mutating func rest() async throws -> [LogRecord] {
    var records: [LogRecord] = []
    try await forEachPiece { reader, bytes in
      reader.pending += bytes
      records += reader.takeRecords()
    } atTurn: { reader in
      // Files begin with a line.
      reader.pending = []
    }
    return records
  }

  /// Whatever it is.
  mutating func restOfBytes() async throws -> [UInt8] {
    var all: [UInt8] = []
    try await forEachPiece { _, bytes in
      all += bytes
    } atTurn: { _ in
    }
    return all
  }

  private mutating func forEachPiece(
    _ body: (inout LogReader, [UInt8]) -> Void, atTurn: (inout LogReader) -> Void
  ) async throws {
    if file == nil { file = oldest() }
    while let current = file {
      // Once it was turned over nothing is written to it any more, so it is read once more after that was seen.
      let next = successor(of: current)
      while true {
        let bytes = try await read(current)
        if bytes.isEmpty { break }
        body(&self, bytes)
      }
      guard let next else { return }
      atTurn(&self)
      file = next
    }
  }

  private mutating func takeRecords() -> [LogRecord] {
    var records: [LogRecord] = []
    var begin = 0
    while let end = pending[begin...].firstIndex(of: 10) {
      if let record = try? Self.decoder.decode(LogRecord.self, from: Data(pending[begin..<end])) {
        records.append(record)
      }
      begin = end + 1
    }
    pending.removeFirst(begin)
    if pending.count > Self.maximumLine { pending = [] }
    return records
  }

  private static let decoder: JSONDecoder = {
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .custom { decoder in
      let text = try decoder.singleValueContainer().decode(String.self)
      return (try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))) ?? Date.distantPast
    }
    return decoder
  }()

  private func read(_ file: FileDescriptor) async throws -> [UInt8] {
    let number = file.number
    return try await ThreadExecutor.run { () throws(SystemError) -> [UInt8] in
      var buffer = [UInt8](repeating: 0, count: 1 << 18)
      let count = try retrying("read the log") { Glibc.read(number, &buffer, buffer.count) }
      return Array(buffer.prefix(count))
    }
  }

  // MARK: Files

  private func name(_ number: Int) -> String { number == 0 ? path : "\(path).\(number)" }

  private func inode(_ number: Int) -> UInt64? {
    var status = stat()
    return lstat(name(number), &status) == 0 ? UInt64(status.st_ino) : nil
  }

  /// The number of the file of that inode, and the highest number that there is as far as that was looked for. All numbers
  /// are looked at: while the writer renames, one of them has no file.
  private func look(for inode: UInt64?) -> (place: Int?, oldest: Int?) {
    var oldest: Int?
    for number in 0...Self.most {
      guard let there = self.inode(number) else { continue }
      oldest = number
      if there == inode { return (number, oldest) }
    }
    return (nil, oldest)
  }

  private func oldest() -> FileDescriptor? {
    for _ in 0..<100 {
      guard let number = look(for: nil).oldest else { return nil }
      guard let file = open(name(number)) else { continue }
      // It was the oldest when it was opened, unless it has just taken that place.
      if number == Self.most || inode(number + 1) == nil { return file }
    }
    return nil
  }

  /// The file that came after that one; nil where it is the one that is written to.
  private func successor(of file: FileDescriptor) -> FileDescriptor? {
    for _ in 0..<100 {
      var mine = stat()
      guard fstat(file.number, &mine) == 0 else { return nil }
      let inode = UInt64(mine.st_ino)
      // It has gone itself: all that are there came after it.
      if mine.st_nlink == 0 { return oldest() }
      guard let place = look(for: inode).place else { continue }
      if place == 0 { return nil }
      // Where it still has its place, the one before that was the next when it was opened: the writer renames the older first.
      if let next = open(name(place - 1)), self.inode(place) == inode { return next }
    }
    // The next look finds it.
    return nil
  }

  /// The files belong to the VM's user: no links, regular files only.
  private func open(_ path: String) -> FileDescriptor? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return nil }
    var status = stat()
    guard fstat(file.number, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return file
  }
}
