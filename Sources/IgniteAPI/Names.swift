/// Names and identifiers of objects.
public enum ObjectName {
  /// Why `name` cannot be a VM's name, or nil: a DNS-1123 subdomain of at most 63 bytes, so that it serves as a host name.
  public static func problem(with name: String) -> String? {
    guard !name.isEmpty else { return "a name cannot be empty" }
    guard name.utf8.count <= 63 else { return "a name has at most 63 characters" }
    let good = name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 46 }
    guard good else { return "a name is made of lower-case letters, digits, '-' and '.'" }
    for label in name.split(separator: ".", omittingEmptySubsequences: false) {
      guard let first = label.first, let last = label.last, first != "-", last != "-" else {
        return "each part of a name begins and ends with a letter or a digit"
      }
    }
    return nil
  }

  /// A fresh UID: 16 lower-case hex digits.
  public static func makeUID() -> String {
    let digits = String(UInt64.random(in: .min ... .max), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static let adjectives = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "daring", "deft", "eager",
    "early", "fair", "fiery", "fleet", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "keen", "kind",
    "lively", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble", "plain", "proud", "quick", "quiet",
    "rapid",
    "ready", "sharp", "silent", "sleek", "smart", "snug", "solid", "spry", "steady", "still", "sunny", "swift", "tidy",
    "vivid", "warm", "wild", "wise", "witty", "young", "zesty",
  ]
  private static let nouns = [
    "ash", "beacon", "blaze", "bolt", "brand", "candle", "cinder", "coal", "comet", "dawn", "ember", "fire", "firefly",
    "flame", "flare", "flash", "flint", "forge", "furnace", "glow", "hearth", "kiln", "kindle", "lamp", "lantern",
    "light", "match", "meteor", "moon", "nova", "oven", "phoenix", "pyre", "ray", "rocket", "smith", "spark", "star",
    "steam", "stove", "sun", "taper", "tinder", "torch", "wick",
  ]

  /// A name for a VM that was given none, as `swift-ember`.
  public static func random() -> String {
    "\(adjectives.randomElement() ?? "swift")-\(nouns.randomElement() ?? "ember")"
  }
}
