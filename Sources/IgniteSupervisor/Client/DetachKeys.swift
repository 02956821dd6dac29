/// The keys by which who sits at a process's terminal leaves it, docker's ctrl-p ctrl-q unless told otherwise.
public struct DetachKeys: Sendable, Equatable {
  private let keys: [UInt8]
  /// How many of them have been typed.
  private var matched = 0

  public static let usual = DetachKeys(keys: [16, 17])

  private init(keys: [UInt8]) { self.keys = keys }

  /// Keys separated by commas: a character, or `ctrl-` and one of a to z, @, [, \, ], ^ and _; nil for anything else.
  public init?(_ text: String) {
    var keys: [UInt8] = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
      let bytes = Array(word.utf8)
      if bytes.count == 1, (32...126).contains(bytes[0]) {
        keys.append(bytes[0])
      } else if word.lowercased().hasPrefix("ctrl-"), bytes.count == 6 {
        let key = bytes[5]
        switch key {
        case 97...122: keys.append(key - 96)
        case 64, 91...95: keys.append(key - 64)
        default: return nil
        }
      } else {
        return nil
      }
    }
    guard (1...16).contains(keys.count) else { return nil }
    self.keys = keys
  }

  /// What of the typed bytes the process gets, and whether the keys were all typed; what came of them is held back until
  /// it is known to be something else.
  mutating func filter(_ bytes: [UInt8]) -> (passed: [UInt8], leaves: Bool) {
    var passed: [UInt8] = []
    for byte in bytes {
      if byte == keys[matched] {
        matched += 1
        if matched == keys.count { return (passed, true) }
        continue
      }
      passed += keys.prefix(matched)
      matched = 0
      if byte == keys[0] { matched = 1 } else { passed.append(byte) }
    }
    return (passed, false)
  }
}
