public import Glibc

/// A system call that failed.
public struct SystemError: UserFacingError {
  /// The errno value.
  public let code: Int32
  public let message: String
  public let advice: String?

  /// - Parameters:
  ///   - operation: what was tried and on what, as `open /a/b`.
  ///   - code: an errno value.
  public init(_ operation: String, code: Int32 = errno, advice: String? = nil) {
    self.code = code
    self.message = "\(operation): \(Self.text(of: code))"
    self.advice = advice
  }

  /// The system's own words, as `No such file or directory`.
  public static func text(of code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Runs a system call again while a signal interrupts it; throws for -1.
@discardableResult
public func retrying(_ operation: @autoclosure () -> String, _ call: () -> Int) throws(SystemError) -> Int {
  while true {
    let result = call()
    if result >= 0 { return result }
    let code = errno
    if code != EINTR { throw SystemError(operation(), code: code) }
  }
}
