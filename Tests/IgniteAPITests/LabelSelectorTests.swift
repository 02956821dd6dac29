import IgniteAPI
import Testing

@Suite struct LabelSelectorTests {
  @Test(arguments: [
    ("app=shop", true), ("app==shop", true), ("app!=shop", false), ("app", true), ("!app", false), ("old", false),
    ("!old", true),
    ("app in (a, shop)", true), ("app notin (a,shop)", false), ("old notin (a)", true), ("app=shop,tier=db", true),
    ("app=shop, tier!=db", false), ("old=x", false), ("old!=x", true), ("empty=", true),
  ])
  func labelsSuit(_ text: String, _ suits: Bool) throws {
    let selector = try #require(LabelSelector(text))
    #expect(selector.suits(["app": "shop", "tier": "db", "empty": ""]) == suits)
  }

  @Test(arguments: ["", "=a", "app in", "app in ()", "app on (a)", "a b", "a=b=c", ",", "!"])
  func whatMakesNoSenseIsNone(_ text: String) { #expect(LabelSelector(text) == nil) }
}
