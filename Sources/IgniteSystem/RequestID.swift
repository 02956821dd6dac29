/// What one command, or one piece of the daemon's work, is known by wherever something comes of it: in events, in VMs' journals
/// and in the daemon's log.
public struct RequestID: RawRepresentable, Sendable, Hashable, Codable, CustomStringConvertible {
  /// Who calls `ignite` may choose the id by this variable.
  public static let variable = "IGNITE_REQUEST_ID"

  /// Of what the task is at work on.
  @TaskLocal public static var current: RequestID?

  public let number: UInt64

  /// A fresh one.
  public init() { number = .random(in: .min ... .max) }

  public init(number: UInt64) { self.number = number }

  /// 16 lower-case hex digits; nil for anything else.
  public init?(rawValue: String) {
    let digits = rawValue.utf8
    guard digits.count == 16, digits.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }),
      let number = UInt64(rawValue, radix: 16)
    else { return nil }
    self.number = number
  }

  public var rawValue: String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  public var description: String { rawValue }
}
