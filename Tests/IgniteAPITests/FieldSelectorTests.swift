import IgniteAPI
import IgniteSystem
import Testing

@Suite struct FieldSelectorTests {
  @Test(arguments: [
    ("metadata.name=web", true), ("metadata.name==web", true), ("metadata.name!=web", false),
    ("metadata.name=web,status.phase!=Running", false), ("metadata.name=web,,status.phase=Running,", true),
    ("metadata.name=web, status.exitCode=137", true), ("status.exitCode=1", false), ("status.health=", true),
    ("status.health!=", false), ("spec.tty=true", true), ("status=", true), ("status.phase.more=", true),
    (#"spec.note=a\,b\=c\\d"#, true), (#"spec.note!=a\,b\=c\\d"#, false), ("status.phase=running", false),
  ])
  func fieldsSuit(_ text: String, _ suits: Bool) throws {
    let selector = try #require(FieldSelector(text))
    #expect(
      selector.suits([
        "metadata": ["name": "web"], "spec": ["note": #"a,b=c\d"#, "tty": true],
        "status": ["phase": "Running", "exitCode": .integer(137)],
      ]) == suits)
  }

  @Test(arguments: ["", ",", "a", "=a", "!=a", "a=b=c", #"a=b\"#, #"a=b\c"#, "a=b,c", "==", "a,b=c"])
  func whatMakesNoSenseIsNone(_ text: String) { #expect(FieldSelector(text) == nil) }

  @Test func thereAreNotAnyNumberOfTerms() {
    func terms(_ count: Int) -> String { (0..<count).map { "a\($0)=b" }.joined(separator: ",") }
    #expect(FieldSelector(terms(FieldSelector.most))?.requirements.count == FieldSelector.most)
    #expect(FieldSelector(terms(FieldSelector.most + 1)) == nil)
  }
}
