/// How log lines are spelled.
enum LogText {
  /// Bytes of a value that are kept.
  static let longest = 8 << 10

  /// A value of a logfmt line: bare where it can be, in quotes where it has to be.
  static func logfmt(_ value: String) -> String {
    let isPlain =
      !value.isEmpty && value.utf8.count <= longest
      && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x3d && $0 != 0x5c }
    return isPlain ? value : quoted(value)
  }

  /// A JSON string. What would end a line, drive a terminal or turn the direction of writing is escaped: guests and users
  /// have words in it.
  static func quoted(_ value: String) -> String {
    var text = "\""
    var length = 0
    for scalar in value.unicodeScalars {
      length += scalar.utf8.count
      if length > longest {
        text += "…"
        break
      }
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
          for unit in String(scalar).utf16 { text += "\\u" + hexadecimal(unit) }
        default: text.unicodeScalars.append(scalar)
        }
      }
    }
    return text + "\""
  }

  /// A field's name: letters, digits, `_`, `-` and `.`.
  static func key(_ name: String) -> String {
    let allowed = name.unicodeScalars.map { scalar -> Character in
      let isAllowed =
        scalar.isASCII
        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "_-.".contains(Character(scalar)))
      return isAllowed ? Character(scalar) : "_"
    }
    return allowed.isEmpty ? "_" : String(allowed.prefix(64))
  }

  private static func hexadecimal(_ unit: UInt16) -> String {
    let digits = String(unit, radix: 16)
    return String(repeating: "0", count: 4 - digits.count) + digits
  }
}
