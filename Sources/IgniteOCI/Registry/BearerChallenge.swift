/// What a registry's 401 asks for: a token from another server (distribution specification's token authentication;
/// RFC 6750, section 3).
struct BearerChallenge: Sendable, Hashable {
  var realm: String
  var service: String?
  var scope: String?

  /// Finds the bearer challenge among the values of `WWW-Authenticate`; nil when there is none that is complete.
  init?(_ headers: [String]) {
    for header in headers where header.utf8.count <= 8192 {
      for challenge in Self.parse(header) where challenge.scheme.lowercased() == "bearer" {
        guard let realm = challenge.parameters["realm"] else { continue }
        self.realm = realm
        service = challenge.parameters["service"]
        scope = challenge.parameters["scope"]
        return
      }
    }
    return nil
  }

  /// Splits a header into its challenges: `Scheme a=b, c="d e", Other x=y` (RFC 9110, section 11.6.1).
  static func parse(_ header: String) -> [(scheme: String, parameters: [String: String])] {
    var challenges: [(scheme: String, parameters: [String: String])] = []
    let bytes = Array(header.utf8)
    var position = 0
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    func isToken(_ byte: UInt8) -> Bool {
      byte > 0x20 && byte < 0x7f && !"()<>@,;:\\\"/[]?={}".utf8.contains(byte)
    }
    func skip(_ condition: (UInt8) -> Bool) {
      while position < bytes.count, condition(bytes[position]) { position += 1 }
    }
    while position < bytes.count {
      skip { isSpace($0) || $0 == UInt8(ascii: ",") }
      let start = position
      skip(isToken)
      guard position > start else { break }
      let word = String(decoding: bytes[start..<position], as: UTF8.self)
      let afterWord = position
      skip(isSpace)
      guard position < bytes.count, bytes[position] == UInt8(ascii: "=") else {
        // A word without '=' starts the next challenge.
        position = afterWord
        challenges.append((word, [:]))
        continue
      }
      position += 1
      skip(isSpace)
      var value: [UInt8] = []
      if position < bytes.count, bytes[position] == UInt8(ascii: "\"") {
        position += 1
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
          if bytes[position] == UInt8(ascii: "\\"), position + 1 < bytes.count { position += 1 }
          value.append(bytes[position])
          position += 1
        }
        guard position < bytes.count else { break }
        position += 1
      } else {
        let start = position
        skip { !isSpace($0) && $0 != UInt8(ascii: ",") }
        value = Array(bytes[start..<position])
      }
      guard !challenges.isEmpty else { break }
      challenges[challenges.count - 1].parameters[word.lowercased()] = String(decoding: value, as: UTF8.self)
    }
    return challenges
  }
}
