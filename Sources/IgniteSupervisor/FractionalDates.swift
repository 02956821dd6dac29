public import FoundationEssentials

extension JSONEncoder.DateEncodingStrategy {
  /// RFC 3339 with parts of a second.
  public static var fractional: Self {
    .custom { date, encoder in
      var container = encoder.singleValueContainer()
      try container.encode(date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
    }
  }
}

extension JSONDecoder.DateDecodingStrategy {
  /// RFC 3339, with parts of a second or without.
  public static var fractional: Self {
    .custom { decoder in
      let container = try decoder.singleValueContainer()
      let text = try container.decode(String.self)
      if let date = try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) { return date }
      if let date = try? Date(text, strategy: Date.ISO8601FormatStyle()) { return date }
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "no date")
    }
  }
}
