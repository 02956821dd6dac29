internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine

/// How a list is shown.
enum ListFormat: String, CaseIterable {
  case table
  case json

  init(checking text: String) throws {
    guard let format = ListFormat(rawValue: text) else {
      throw EngineError(.invalidArgument, "--format \(text) is not possible", advice: "write table or json")
    }
    self = format
  }
}

/// Columns of text, as wide as their widest cell and three spaces apart.
struct Table {
  private var rows: [[String]]

  init(_ header: [String]) { rows = [header] }

  mutating func add(_ row: [String]) { rows.append(row.map(Self.printable)) }

  func text() -> String {
    let columns = rows.map(\.count).max() ?? 0
    let counts = rows.map { $0.map(\.count) }
    let widths = (0..<columns).map { column in counts.map { column < $0.count ? $0[column] : 0 }.max() ?? 0 }
    var text = ""
    for (row, counts) in zip(rows, counts) {
      var line = ""
      for (column, cell) in row.enumerated() {
        line += cell
        if column + 1 < row.count { line += String(repeating: " ", count: widths[column] - counts[column] + 3) }
      }
      while line.utf8.last == UInt8(ascii: " ") { line.unicodeScalars.removeLast() }
      text += line + "\n"
    }
    return text
  }

  /// A hostile name cannot drive the terminal.
  static func printable(_ text: String) -> String {
    if text.utf8.allSatisfy({ (32..<127).contains($0) }) { return text }
    return String(
      String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
  }
}

/// Values as JSON on standard output.
enum Output {
  static func json<Value: Encodable>(_ value: Value) throws {
    var data = try APICoding.encoder(pretty: true).encode(value)
    data.append(10)
    FileHandleOutput.standardOutput.write(Array(data))
  }

  static func line(_ text: String) { FileHandleOutput.standardOutput.write(text + "\n") }

  /// A span of time in its largest unit, as docker prints it: `5 minutes`.
  static func span(_ seconds: Double) -> String {
    let seconds = Int(max(0, seconds))
    func counted(_ count: Int, _ unit: String) -> String { "\(count) \(unit)\(count == 1 ? "" : "s")" }
    switch seconds {
    case ..<1: return "less than a second"
    case ..<60: return counted(seconds, "second")
    case ..<3600: return counted(seconds / 60, "minute")
    case ..<172_800: return counted(seconds / 3600, "hour")
    case ..<1_209_600: return counted(seconds / 86_400, "day")
    case ..<5_184_000: return counted(seconds / 604_800, "week")
    case ..<63_072_000: return counted(seconds / 2_592_000, "month")
    default: return counted(seconds / 31_536_000, "year")
    }
  }
}
