internal import IgniteEngine

/// The plain part of docker's output templates: `{{.Field}}`, text, `\t` and `\n`; `table ` ahead of it makes columns.
struct Template {
  private enum Part {
    case text(String)
    case field(String)
  }

  let isTable: Bool
  private let parts: [Part]

  /// - Throws: EngineError that names what is not understood, and the fields that there are.
  init(_ text: String, fields: [String]) throws {
    isTable = text == "table" || text.hasPrefix("table ")
    var rest = (isTable ? text.dropFirst(6) : text[...])
    var parts: [Part] = []
    while let open = rest.firstRange(of: "{{") {
      parts.append(.text(Self.unescaped(rest[..<open.lowerBound])))
      rest = rest[open.upperBound...]
      guard let close = rest.firstRange(of: "}}") else {
        throw EngineError(.invalidArgument, "--format \(text): a {{ has no }}")
      }
      let name = String(rest[..<close.lowerBound].filter { $0 != " " })
      guard name.hasPrefix("."), fields.contains(String(name.dropFirst())) else {
        throw EngineError(
          .invalidArgument, "--format \(text): there is no field \(name)",
          advice: "there are \(fields.map { "." + $0 }.joined(separator: " "))")
      }
      parts.append(.field(String(name.dropFirst())))
      rest = rest[close.upperBound...]
    }
    parts.append(.text(Self.unescaped(rest)))
    self.parts = parts
  }

  private static func unescaped(_ text: Substring) -> String {
    String(text.replacing("\\t", with: "\t").replacing("\\n", with: "\n"))
  }

  /// A line for each row of values by field.
  func render(_ rows: [[String: String]]) -> String {
    func line(_ value: (String) -> String) -> String {
      parts.reduce(into: "") { line, part in
        switch part {
        case .text(let text): line += text
        case .field(let name): line += value(name)
        }
      }
    }
    let lines = rows.map { row in line { row[$0] ?? "" } }
    guard isTable else { return lines.map { $0 + "\n" }.joined() }
    var table = Table(line(Self.heading).split(separator: "\t", omittingEmptySubsequences: false).map(String.init))
    for line in lines { table.add(line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)) }
    return table.text()
  }

  /// `CreatedAt` as a column's head: `CREATED AT`.
  private static func heading(_ field: String) -> String {
    if field == "ID" { return "IMAGE ID" }
    var head = ""
    for character in field {
      if character.isUppercase && !head.isEmpty { head += " " }
      head += character.uppercased()
    }
    return head
  }
}
