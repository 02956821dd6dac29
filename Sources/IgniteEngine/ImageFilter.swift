public import FoundationEssentials
internal import Glibc
internal import IgniteImages
public import IgniteOCI

extension ImageConfig.Process {
  /// Whether the image has a label, given as `KEY` or `KEY=VALUE`.
  public func hasLabel(_ text: String) -> Bool {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard let key = parts.first, let value = labels[String(key)] else { return false }
    return parts.count == 1 || value == parts[1]
  }
}

/// Filters of a list as docker has them: of one key any may hold, of different keys all must.
public struct ImageFilter: Sendable {
  private var references: [String] = []
  private var labels: [String] = []
  private var dangling: [Bool] = []
  private var before: Date?
  private var since: Date?

  /// - Parameter texts: `reference=GLOB`, `label=KEY[=VALUE]`, `before=IMAGE`, `since=IMAGE`, `until=TIME`, `dangling=BOOL`.
  public init(_ texts: [String], find: (String) async throws -> ImageRecord) async throws {
    for text in texts {
      let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else {
        throw EngineError(.invalidArgument, "--filter \(text) has no value", advice: "write it as reference=debian:*")
      }
      switch parts[0] {
      case "reference": references.append(parts[1])
      case "label": labels.append(parts[1])
      case "before": before = Self.made(try await find(parts[1]))
      case "since": since = Self.made(try await find(parts[1]))
      case "until": before = try Self.moment(parts[1])
      case "dangling":
        guard let flag = ["true": true, "1": true, "false": false, "0": false][parts[1]] else {
          throw EngineError(.invalidArgument, "--filter \(text): that is neither true nor false")
        }
        dangling.append(flag)
      default:
        throw EngineError(
          .invalidArgument, "--filter \(text): there is no filter \(parts[0])",
          advice: "known here: reference, label, before, since, until, dangling")
      }
    }
  }

  public static func moment(_ text: String) throws -> Date {
    guard let date = TimeSpan.moment(text) else {
      throw EngineError(
        .invalidArgument, "\"\(text)\" is no time", advice: "write a span as 24h, or a date as 2026-01-31T12:00:00Z")
    }
    return date
  }

  /// When an image was made; where it does not say, when it was imported.
  public static func made(_ record: ImageRecord) -> Date {
    record.image.created.flatMap(TimeSpan.date) ?? record.imported
  }

  public func suits(_ record: ImageRecord) -> Bool {
    // Every image here has a name.
    if !dangling.isEmpty && !dangling.contains(false) { return false }
    if let before, Self.made(record) >= before { return false }
    if let since, Self.made(record) <= since { return false }
    guard labels.allSatisfy({ record.image.config.config.hasLabel($0) }) else { return false }
    return references.isEmpty || references.contains { Self.matches(record.image.name, $0) }
  }

  /// Whether a shell's pattern fits the name, whole or without its tag, in its canonical or its short form.
  static func matches(_ name: String, _ pattern: String) -> Bool {
    guard let reference = try? Reference(name) else { return fnmatch(pattern, name, 0) == 0 }
    let short = reference.familiar
    let untagged = short.prefix(short.count - (reference.tag.map { $0.count + 1 } ?? 0))
    return [name, reference.name, short, String(untagged)].contains { (candidate: String) in
      fnmatch(pattern, candidate, FNM_PATHNAME) == 0
    }
  }
}
