internal import Glibc
public import IgniteSystem
internal import IgniteWire

/// Why a supervisor, or a conversation with one, failed.
public struct SupervisorError: UserFacingError {
  public let message: String
  public let advice: String?
  /// What a command returns: 125, or 126 and 127 for the process that was to run.
  public let exitCode: Int32

  public init(_ message: String, advice: String? = nil, exitCode: Int32 = 125) {
    self.message = message
    self.advice = advice
    self.exitCode = exitCode
  }
}

extension ExitStatus {
  /// The status that a shell would show as `status`.
  init(shellStatus status: Int32) {
    if status > 128 { self.init(signal: UInt64(status - 128)) } else { self.init(code: UInt64(max(0, status))) }
  }
}

/// Reads to the end of the file or of the buffer. Blocking.
func readAll(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int {
  var total = 0
  while total < buffer.count {
    let offset = total
    let count = buffer.withUnsafeMutableBytes {
      read(descriptor, $0.baseAddress?.advanced(by: offset), $0.count - offset)
    }
    if count == 0 { break }
    if count < 0 {
      if errno == EINTR { continue }
      return -1
    }
    total += count
  }
  return total
}
