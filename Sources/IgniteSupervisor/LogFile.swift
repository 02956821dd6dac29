public import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// A log that cannot outgrow its disk: past half of `limit` the file becomes `<path>.1`, in place of an older one.
struct BoundedFile {
  private let path: String
  private let half: Int64
  private var file: FileDescriptor
  private var size: Int64

  init(path: String, limit: Int64) throws(SystemError) {
    self.path = path
    half = limit / 2
    file = try FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600)
    size = Int64(lseek(file.number, 0, SEEK_END))
  }

  /// What cannot be written is lost: a full disk ends a log, not a VM.
  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    if size + Int64(bytes.count) > half, size > 0, rename(path, path + ".1") == 0,
      let fresh = try? FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600)
    {
      file = fresh
      size = 0
    }
    let written = write(file.number, bytes.baseAddress, bytes.count)
    if written > 0 { size += Int64(written) }
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
  /// Bytes of log that a VM may have, both files together.
  static let limit: Int64 = 32 << 20
  private static let maximumLine = 16_384

  private var file: BoundedFile
  private var partial: [String: [UInt8]] = [:]
  private let encoder: JSONEncoder

  init(path: String) throws(SystemError) {
    file = try BoundedFile(path: path, limit: Self.limit)
    encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    encoder.dateEncodingStrategy = .custom { date, encoder in
      var container = encoder.singleValueContainer()
      try container.encode(date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
    }
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
    if !output.isEmpty { output.withUnsafeBytes { file.append($0) } }
  }

  /// Writes what has no line end yet.
  mutating func finish() {
    var output: [UInt8] = []
    for (stream, bytes) in partial where !bytes.isEmpty { record(bytes, stream: stream, into: &output) }
    partial = [:]
    if !output.isEmpty { output.withUnsafeBytes { file.append($0) } }
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
