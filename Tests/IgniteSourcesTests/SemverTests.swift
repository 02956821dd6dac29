import Testing

@testable import IgniteSources

/// The tables were made by hand from semver.org 2.0.0 and from what Masterminds' semver v3.4 documents and tests.
@Suite struct Semver {
  @Test func versionsAreOrderedAsTheSpecificationHasThem() throws {
    let ordered = [
      "0.0.0-0", "0.0.0", "0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
      "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-1", "2.0.0-99999999999999999999999",
      "2.0.0-a", "2.0.0", "18446744073709551615.0.0",
    ]
    let versions = try ordered.map { try #require(SemanticVersion($0), "\($0)") }
    #expect(versions == versions.shuffled().sorted())
    #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 })
    #expect(versions.map(\.description) == ordered)
    #expect(SemanticVersion("1.0.0+a") == SemanticVersion("v1.0.0+b"))
  }

  @Test(arguments: [
    "", "v", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.x.0",
    "vv1.2.3",
    "V1.2.3", "release-1.2.3", "1.2.3 ", "-1.2.3", "1.2.3-é", "18446744073709551616.0.0",
  ])
  func whatIsNoVersionIsNone(text: String) { #expect(SemanticVersion(text) == nil) }

  private static let table: [(String, in: [String], out: [String])] = [
    ("1.2.3", ["1.2.3", "1.2.3+b"], ["1.2.4", "1.2.3-a"]), ("=1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.9"]),
    ("1.x", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.9", "1.1.0-a"]), ("1.2.*", ["1.2.0", "1.2.7"], ["1.3.0"]),
    ("1", ["1.0.0", "1.9.0"], ["2.0.0"]), ("*", ["0.0.0", "9.9.9"], ["1.0.0-a"]),
    ("", ["0.0.0", "9.9.9"], ["1.0.0-a"]),
    ("*-0", ["1.2.3-alpha.1", "1.0.0"], []), ("0.0.x", ["0.0.9"], ["0.1.0", "1.2.3"]),
    ("!=4.1", ["4.2.0", "5.1.0"], ["4.1.0", "4.1.9", "5.1.0-a"]), ("!=4.1.0", ["4.1.1"], ["4.1.0"]),
    ("!=4.x", ["5.1.0"], ["4.1.0"]), ("!=4.1-alpha", ["4.1.0"], ["4.1.0-alpha"]),
    (">1.1", ["1.2.0", "4.1.0"], ["1.1.0", "1.1.9"]), (">11", ["12.0.0"], ["11.1.0", "11.0.0"]),
    (">1.2.3-alpha.1", ["1.2.3-alpha.2", "1.3.3-alpha.2"], ["1.2.3-alpha.1"]), (">0", ["1.0.0"], ["0.0.0", "0.9.0"]),
    ("<1.1", ["0.1.0", "1.0.9"], ["1.1.0", "1.1.1"]), ("<1.x", ["0.9.0"], ["1.0.0", "1.1.1"]),
    ("<0-z", ["0.0.0-alpha"], ["0.0.0"]), (">=1.1", ["1.1.0", "4.1.0"], ["1.0.9", "4.1.0-beta"]),
    (">=0-0", ["0.0.1-alpha", "0.0.0-alpha", "3.0.0"], []), ("=>1.2", ["1.2.0"], ["1.1.0"]),
    ("<=1.1", ["1.1.0", "1.1.9", "0.1.0"], ["1.2.3", "0.1.0-alpha"]), ("<=11", ["11.2.3", "1.2.3"], ["12.0.0"]),
    ("<=1.1-a", ["0.1.0-alpha"], []), ("=<2", ["2.9.0"], ["3.0.0"]),
    ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]), ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
    ("~1", ["1.0.0", "1.9.0"], ["2.0.0"]), ("~>1.2", ["1.2.1"], ["1.3.0"]), ("~*", ["2.1.1"], []),
    ("~0.0.0", ["1.2.3"], []),
    ("~1.2.3-beta.2", ["1.2.3-beta.4", "1.2.4-beta.2", "1.2.9"], ["1.2.3-beta.1", "1.3.4-beta.2"]),
    ("^1.2.3", ["1.2.3", "1.8.9"], ["2.0.0", "1.2.2", "1.3.0-a"]), ("^1.2", ["1.2.0", "1.9.0"], ["1.1.9", "2.0.0"]),
    ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]), ("^0.0.3", ["0.0.3"], ["0.0.4"]),
    ("^0.0", ["0.0.9"], ["0.1.0"]),
    ("^0", ["0.0.0", "0.9.0"], ["1.0.0"]), ("^1.x", ["1.1.1"], ["2.1.1", "1.1.1-beta1"]),
    ("^0.0.0", ["0.0.0"], ["0.0.1", "1.2.3"]),
    ("^1.2.0-alpha.0", ["1.2.1-alpha.1"], ["2.0.0-alpha"]), ("^1.1.2-alpha", ["1.2.1-beta1"], []),
    (">=1.0.0 <2.0.0", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.9", "1.5.0-a"]),
    (">= 1.1, <2, != 1.2.3", ["1.5.0"], ["1.2.3", "2.0.0"]),
    (">=1.0.0-0 <2.0.0", ["1.5.0-a", "1.0.0-rc.1", "2.0.0-a"], ["2.0.0"]),
    (">=1.1 <2 !=1.2.3 || >= 3", ["3.0.0", "1.3.0"], ["2.5.0", "1.2.3"]), (">=1.1 <2 || > 3", ["4.0.0"], ["3.1.2"]),
    ("1.1 - 2", ["1.1.0", "2.9.9"], ["1.0.9", "3.0.0"]), ("1.0.0 - 2.0.0, <=1.5", ["1.5.9"], ["1.6.0"]),
    ("1.2 || 1.4", ["1.2.5", "1.4.0"], ["1.3.0"]), ("v1.2.3 || v2", ["1.2.3", "2.1.0"], ["1.2.4"]),
  ]

  @Test func rangesContainWhatTheyShould() throws {
    for (text, inside, outside) in Self.table {
      let range = try VersionRange(text)
      for version in inside { #expect(range.contains(try #require(SemanticVersion(version))), "\(version) in \(text)") }
      for version in outside {
        #expect(!range.contains(try #require(SemanticVersion(version))), "\(version) not in \(text)")
      }
    }
  }

  @Test(arguments: [
    "foo", ">= bar", "BAR >= 1.2.3", "12.3.4.1234", "12.3.34~ 1.2.3", ">=", "1.2 -", "- 1.2", ">1 - <2", "1,,2", ",",
    "1 | 2", "1.2.3-",
    ">=1.2.3;rm", "^^1", String(repeating: "1||", count: 40) + "1", String(repeating: "1", count: 600),
  ])
  func whatIsNoRangeIsNamed(text: String) {
    #expect { try VersionRange(text) } throws: { ($0 as? SourceError)?.code == .badSource }
  }

  @Test func theHighestTagIsTaken() throws {
    let tags = ["v1.0.0", "v1.9.0", "v1.10.0", "1.10.0-rc.1", "v2.0.0-beta.1", "latest", "v1", "x/v9.0.0"]
    #expect(try VersionRange("1.x").highest(of: tags) == "v1.10.0")
    #expect(try VersionRange("*").highest(of: tags) == "v1.10.0")
    #expect(try VersionRange(">=1-0").highest(of: tags) == "v2.0.0-beta.1")
    #expect(try VersionRange("^3").highest(of: tags) == nil)
    #expect(try VersionRange("1.0.0").highest(of: ["1.0.0+a", "1.0.0+c", "1.0.0+b"]) == "1.0.0+c")
  }
}
