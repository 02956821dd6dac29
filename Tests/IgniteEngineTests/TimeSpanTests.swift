import Foundation
import Testing

@testable import IgniteEngine

@Suite struct TimeSpans {
  @Test(arguments: [
    ("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400), ("0s", 0), ("", nil), ("10", nil),
    ("h", nil), ("-1h", nil), ("1h ", nil), ("99999999999999999999s", nil), ("9223372036854775807d", nil),
    ("100000d", nil),
  ])
  func spans(_ text: String, _ seconds: Int64?) { #expect(TimeSpan.seconds(text) == seconds) }

  @Test func moments() {
    let now = Date(timeIntervalSince1970: 1_000_000)
    #expect(TimeSpan.moment("1h", now: now) == Date(timeIntervalSince1970: 996_400))
    #expect(TimeSpan.moment("500", now: now) == Date(timeIntervalSince1970: 500))
    #expect(TimeSpan.moment("1970-01-02T00:00:00Z", now: now) == Date(timeIntervalSince1970: 86_400))
    #expect(TimeSpan.moment("1970-01-02", now: now) == Date(timeIntervalSince1970: 86_400))
    #expect(TimeSpan.moment("1970-01-01T00:00:10", now: now) == Date(timeIntervalSince1970: 10))
    #expect(TimeSpan.moment("soon", now: now) == nil)
    #expect(TimeSpan.date("2024-01-02T03:04:05.123456789Z") != nil)
  }

  @Test func patterns() {
    let name = "docker.io/library/debian:12"
    for pattern in ["debian", "debian:12", "debian:*", "deb*", "*bian:1?", name, "docker.io/library/debian"] {
      #expect(ImageFilter.matches(name, pattern), "\(pattern)")
    }
    for pattern in ["fedora", "debian:13", "*/debian", "deb"] {
      #expect(!ImageFilter.matches(name, pattern), "\(pattern)")
    }
    #expect(ImageFilter.matches("localhost:5000/a/b:1", "localhost:5000/*/b"))
    #expect(!ImageFilter.matches("localhost:5000/a/b:1", "localhost:5000/*"))
  }
}
