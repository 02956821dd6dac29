internal import Glibc
internal import IgniteSystem
internal import IgniteWire

/// The guest's serial console: kept in `console.log`, bounded, with the last lines at hand for messages.
// @unchecked: used on the loop's thread alone, as the stream it holds.
final class Console: @unchecked Sendable {
  enum Event {
    case output([UInt8])
    /// So many bytes of what was typed have been taken.
    case written(Int)
    /// The machine has gone, and all that it wrote has been told.
    case ended
  }

  /// Bytes of one of the two files of console that a VM may have.
  private static let limit: Int64 = 2 << 20
  private var file: BoundedFile
  private var stream: LoopStream?
  private var last: [UInt8] = []
  private var typed = 0

  init(path: String) throws(SystemError) { file = try BoundedFile(path: path, limit: Self.limit, count: 2) }

  var isOpen: Bool { stream != nil }

  func connect(
    _ socket: FileDescriptor, loop: EventLoop, _ handler: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    stream = try LoopStream(loop: loop, descriptor: socket) { [weak self] event in
      guard let self else { return }
      switch event {
      case .bytes(let bytes):
        let bytes = Array(bytes)
        write(bytes)
        handler(.output(bytes))
      case .drained: tellTyped(handler)
      case .ended:
        stream = nil
        handler(.ended)
      }
    }
  }

  /// Writes something that the machine has not said.
  func note(_ bytes: [UInt8]) { bytes.withUnsafeBytes { file.append($0) } }

  func write(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { file.append($0) }
    last.append(contentsOf: bytes.suffix(4096))
    if last.count > 8192 { last.removeFirst(last.count - 4096) }
  }

  /// Types at the console; `written` tells when the machine has taken it.
  func type(_ bytes: [UInt8]) {
    typed += bytes.count
    stream?.send(bytes)
  }

  private func tellTyped(_ handler: (Event) -> Void) {
    guard typed > 0 else { return }
    let count = typed
    typed = 0
    handler(.written(count))
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

  /// How the machine's init ended, where its end was the machine's: the kernel's last words have its status as of wait(2).
  var initStatus: ExitStatus? {
    let text = String(decoding: last, as: UTF8.self)
    guard let words = text.range(ofLast: "Attempted to kill init! exitcode=0x"),
      let status = UInt64(text[words...].prefix(8), radix: 16)
    else { return nil }
    return ExitStatus(code: status >> 8 & 0xFF, signal: status & 0x7F)
  }
}

extension String {
  /// Where the text behind the last occurrence of `words` begins.
  fileprivate func range(ofLast words: String) -> Index? {
    var place = endIndex
    while place > startIndex {
      place = index(before: place)
      if self[place...].hasPrefix(words) { return index(place, offsetBy: words.count) }
    }
    return nil
  }
}
