public import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// A log that cannot outgrow its disk: a file that is full becomes `<path>.1`, that `<path>.2`, and so on; the oldest goes.
struct BoundedFile {
  private let path: String
  /// Bytes of a file.
  private let limit: Int64
  /// The file that is written to among them.
  private let count: Int
  private var file: FileDescriptor
  private var size: Int64

  init(path: String, limit: Int64, count: Int) throws(SystemError) {
    self.path = path
    self.limit = limit
    self.count = max(1, count)
    file = try FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600)
    size = Int64(lseek(file.number, 0, SEEK_END))
  }

  /// What cannot be written is lost: a full disk ends a log, not a VM.
  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    if size + Int64(bytes.count) > limit, size > 0 { turnOver() }
    let written = write(file.number, bytes.baseAddress, bytes.count)
    if written > 0 { size += Int64(written) }
  }

  /// Appends whole lines, of which no file gets more than it may have; a line that is longer has one for itself.
  mutating func append(lines bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let room = Int(clamping: max(0, limit - size))
      let fitting = rest.prefix(room)
      let whole = rest.count <= room ? rest : fitting.lastIndex(of: 10).map { rest[...$0] } ?? rest.prefix(0)
      // Nothing fits: another file; into an empty one its first line goes in any case.
      let piece =
        whole.isEmpty && size == 0 ? rest.prefix(through: rest.firstIndex(of: 10) ?? rest.endIndex - 1) : whole
      if piece.isEmpty {
        turnOver()
        // One that cannot be turned over is written on.
        if size > 0 { return rest.withUnsafeBytes { append($0) } }
        continue
      }
      piece.withUnsafeBytes { append($0) }
      rest = rest.dropFirst(piece.count)
    }
  }

  private mutating func turnOver() {
    if count == 1 {
      // One that follows it finds a file of the same name, and another inode.
      unlink(path)
    } else {
      for number in stride(from: count - 1, to: 1, by: -1) { rename("\(path).\(number - 1)", "\(path).\(number)") }
      rename(path, path + ".1")
    }
    guard let fresh = try? FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600) else { return }
    file = fresh
    size = 0
  }
}

/// One line of a VM's log: what its main process wrote, when and where to.
public struct LogRecord: Codable, Equatable, Sendable {
  public var time: Date
  /// `stdout` or `stderr`.
  public var stream: String
  /// The bytes as text, when they are UTF-8.
  public var log: String?
  /// The bytes in Base64, when they are not.
  public var base64: String?

  /// The bytes as they were written.
  public var bytes: [UInt8] {
    if let log { return Array(log.utf8) }
    return base64.flatMap { Data(base64Encoded: $0) }.map { Array($0) } ?? []
  }
}

/// The main process's output as JSON lines, beside docker's json-file: time, stream, text.
///
/// Lines of output are kept whole, up to 16 KiB each.
struct LogWriter {
  private static let maximumLine = 16_384

  private var file: BoundedFile
  private var partial: [String: [UInt8]] = [:]
  private let encoder: JSONEncoder

  init(path: String, bounds: SpawnPlan.Logs) throws(SystemError) {
    file = try BoundedFile(path: path, limit: bounds.maxSize, count: bounds.maxFiles)
    encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .fractional
  }

  mutating func append(_ bytes: [UInt8], stream: String) {
    var pending = partial[stream] ?? []
    pending.append(contentsOf: bytes)
    var output: [UInt8] = []
    var begin = 0
    while begin < pending.count {
      let window = pending[begin..<min(pending.count, begin + Self.maximumLine)]
      if let newline = window.firstIndex(of: 10) {
        record(Array(pending[begin...newline]), stream: stream, into: &output)
        begin = newline + 1
      } else if window.count == Self.maximumLine {
        record(Array(window), stream: stream, into: &output)
        begin += window.count
      } else {
        break
      }
    }
    partial[stream] = Array(pending[begin...])
    file.append(lines: output)
  }

  /// Writes what has no line end yet.
  mutating func finish() {
    var output: [UInt8] = []
    for (stream, bytes) in partial where !bytes.isEmpty { record(bytes, stream: stream, into: &output) }
    partial = [:]
    file.append(lines: output)
  }

  private func record(_ bytes: [UInt8], stream: String, into output: inout [UInt8]) {
    let text = String(validating: bytes, as: UTF8.self)
    let record = LogRecord(
      time: Date(), stream: stream, log: text, base64: text == nil ? Data(bytes).base64EncodedString() : nil)
    guard let line = try? encoder.encode(record) else { return }
    output.append(contentsOf: line)
    output.append(10)
  }
}
