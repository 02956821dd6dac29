internal import Glibc
internal import IgniteSystem

/// The guest's serial console: kept in `console.log`, bounded, with the last line at hand for messages.
// @unchecked: used on the loop's thread alone, as the stream it holds.
final class Console: @unchecked Sendable {
  /// Bytes of console that a VM may have, both files together.
  private static let limit: Int64 = 4 << 20
  private var file: BoundedFile
  private var stream: LoopStream?
  private var last: [UInt8] = []

  init(path: String) throws(SystemError) { file = try BoundedFile(path: path, limit: Self.limit) }

  func connect(_ socket: FileDescriptor, loop: EventLoop) throws(SystemError) {
    stream = try LoopStream(loop: loop, descriptor: socket) { [weak self] event in
      if case .bytes(let bytes) = event { self?.write(Array(bytes)) }
    }
  }

  func write(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { file.append($0) }
    last.append(contentsOf: bytes.suffix(1024))
    if last.count > 2048 { last.removeFirst(last.count - 1024) }
  }

  func close() {
    stream?.close()
    stream = nil
  }

  /// The last line that says something, printable, at most 200 characters.
  func tail() -> String {
    let lines = last.split { $0 == 10 || $0 == 13 }
    guard let line = lines.last(where: { $0.contains { $0 > 32 } }) else { return "" }
    return String(decoding: line.filter { $0 >= 32 && $0 < 127 }.suffix(200), as: UTF8.self)
  }
}
