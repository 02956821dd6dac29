import IgniteAPI
import Testing

@testable import IgniteControl

@Suite struct Substitutions {
  private let substitution = Substitution(values: ["A": "1", "EMPTY": "", "LINES": "x\ny"])

  @Test(arguments: [
    ("a ${A} b", "a 1 b"), ("${A}${A}", "11"), ("$A $ $$ $${A}", "$A $ $$ ${A}"), ("${NONE:-2}", "2"),
    ("${NONE:=a:b-c}", "a:b-c"), ("${EMPTY}", ""), ("${EMPTY:-3}", "3"), ("${NONE:=}", ""), ("ü${A}", "ü1"),
    ("${LINES}", "x\ny"), ("", ""),
  ])
  func putsIn(_ text: String, _ expected: String) throws {
    #expect(try substitution.applied(to: text, file: "f") == expected)
  }

  @Test(arguments: [
    ("a\n${NONE}", "f:2: ${NONE} has no value"), ("${A", "f:1: \"${\" has no end"), ("${1A}", "names no value"),
    ("${A B}", "names no value"), ("${NONE:?x}", "is not possible"), ("${}", "names no value"),
    ("${\(String(repeating: "A", count: 2000))}", "has no end"),
  ])
  func whatIsWrongIsNamed(_ text: String, _ words: String) {
    let error = #expect(throws: ManifestError.self) { try substitution.applied(to: text, file: "f") }
    #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
  }

  @Test func whatGrowsIsRefused() {
    let large = Substitution(values: ["A": String(repeating: "x", count: 1 << 20)])
    let error = #expect(throws: ManifestError.self) {
      try large.applied(to: String(repeating: "${A}", count: 5), file: "f")
    }
    #expect(error?.message.contains("more than 4 MiB") == true)
  }
}
