public import FoundationEssentials

/// Spans and moments of time as docker's flags and our configuration spell them.
public enum TimeSpan {
  /// Seconds of `90s`, `10m`, `24h`, `7d` or several of them together, largest first or not; nil for anything else.
  public static func seconds(_ text: String) -> Int64? {
    var rest = text[...]
    var total: Int64 = 0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(digits.count)
      guard let count = Int64(digits), let unit = rest.popFirst(), let factor = factors[unit] else { return nil }
      let (part, tooLong) = count.multipliedReportingOverflow(by: factor)
      let (sum, tooMany) = total.addingReportingOverflow(part)
      // A hundred years, so that no sum of dates overflows.
      guard !tooLong, !tooMany, sum <= 3_155_760_000 else { return nil }
      total = sum
    }
    return total
  }

  private static let factors: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

  /// The moment that an `until` means, as docker reads it: a span back from now, seconds since 1970, or RFC 3339 with or
  /// without a time of day (UTC).
  public static func moment(_ text: String, now: Date = Date()) -> Date? {
    if let seconds = seconds(text) { return now.addingTimeInterval(-Double(seconds)) }
    if let seconds = Double(text), seconds.isFinite { return Date(timeIntervalSince1970: seconds) }
    return date(text) ?? date(text + "Z") ?? date(text + "T00:00:00Z")
  }

  /// A date as images carry it: RFC 3339, with or without parts of a second.
  public static func date(_ text: String) -> Date? {
    if let date = try? Date.ISO8601FormatStyle().parse(text) { return date }
    return try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
  }
}
