import CGuest

typealias Bytes = [UInt8]

/// Why a request or a step failed: the exit status that it means, as docker has them, and one line of text.
struct GuestError: Error {
  var code: UInt64 = 125
  var text: String

  init(_ text: String, code: UInt64 = 125) {
    self.code = code
    self.text = text
  }

  /// A system call that failed, with the reason as the C library words it.
  init(_ what: String, errno error: Int32, code: UInt64 = 125) {
    self.init(what + ": " + errorText(error), code: code)
  }
}

/// `permission denied` for EACCES.
func errorText(_ error: Int32) -> String {
  var bytes = Bytes(cString: guest_error_text(error))
  // As Go's programs have it, with whose texts users are familiar; abbreviations keep their capitals.
  if bytes.count > 1, bytes[0] >= 65, bytes[0] <= 90, bytes[1] >= 97 { bytes[0] += 32 }
  return text(bytes)
}

func string(_ pointer: UnsafePointer<CChar>?) -> String { text(Bytes(cString: pointer)) }

extension Bytes {
  /// The bytes of a C string, without its terminating zero.
  init(cString pointer: UnsafePointer<CChar>?) {
    self.init()
    guard var next = pointer else { return }
    while next.pointee != 0 {
      append(UInt8(bitPattern: next.pointee))
      next += 1
    }
  }
}

/// Bytes of the guest as text for a message; what is no UTF-8 is replaced.
func text(_ bytes: Bytes) -> String { String(decoding: bytes, as: UTF8.self) }

/// Calls `body` with the bytes as a C string.
func withCString<Result>(_ bytes: Bytes, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
  var terminated = bytes
  terminated.append(0)
  return terminated.withUnsafeBytes { buffer in
    guard let base = buffer.bindMemory(to: CChar.self).baseAddress else { return body("") }
    return body(base)
  }
}

enum File {
  /// The file's first bytes, at most `limit`; nil where it cannot be read, with errno set.
  static func read(_ path: String, limit: Int = 65_536) -> Bytes? {
    let descriptor = guest_open(path, O_RDONLY | O_NONBLOCK, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = Bytes()
    while bytes.count < limit {
      let wanted = min(limit - bytes.count, 16_384)
      let piece = Bytes(unsafeUninitializedCapacity: wanted) { buffer, count in
        count = max(0, CGuest.read(descriptor, buffer.baseAddress, wanted))
      }
      if piece.isEmpty { break }
      bytes.append(contentsOf: piece)
    }
    return bytes
  }

  /// Writes a whole file, made with mode 0644 where it is absent; false with errno set where that failed.
  @discardableResult
  static func write(_ path: String, _ bytes: Bytes, flags: Int32 = O_CREAT | O_TRUNC) -> Bool {
    let descriptor = guest_open(path, O_WRONLY | O_NONBLOCK | flags, 0o644)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        CGuest.write(descriptor, buffer.baseAddress.map { $0 + written }, bytes.count - written)
      }
      guard count > 0 else { return false }
      written += count
    }
    return true
  }

  /// The names in a directory, without those that start with a dot; at most `limit` bytes of them.
  static func names(in directory: String, limit: Int = 16_384) -> [Bytes] {
    var names: [Bytes] = []
    let listed = Bytes(unsafeUninitializedCapacity: limit) { buffer, count in
      buffer.withMemoryRebound(to: CChar.self) { characters in
        count = max(0, guest_list_directory(directory, characters.baseAddress, characters.count))
      }
    }
    for name in listed.split(separator: 0) { names.append(Bytes(name)) }
    return names
  }

  static func exists(_ path: String) -> Bool { guest_mode(path, 0) != 0 }
}

/// Lines on the machine's console, for what goes wrong with nobody there to tell.
enum Console {
  static func log(_ text: String) {
    let line = Bytes(("ignite-init: " + text + "\n").utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
  }
}
