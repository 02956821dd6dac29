internal import ArgumentParser
internal import FoundationEssentials
internal import IgniteEngine
internal import IgniteSystem

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Print what happens to VMs and images, as it happens.",
    discussion: "With --since also what has happened; with --until it ends then, and at once where that is in the past."
  )

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("From then on: RFC 3339, or a span back from now as 10m.", valueName: "time"))
  var since: String?

  @Option(help: ArgumentHelp("Until then.", valueName: "time"))
  var until: String?

  @Option(
    name: [.customShort("f"), .customLong("filter")], parsing: .singleValue,
    help: ArgumentHelp("Only what fits: type=vm, event=die, vm=NAME, image=NAME, request=ID.", valueName: "filter"))
  var filters: [String] = []

  @Option(help: ArgumentHelp("table or json, a line each.", valueName: "format"), completion: .list(["table", "json"]))
  var format: String = "table"

  func run() async throws {
    let format = try ListFormat(checking: format)
    var request = EventRequest()
    request.since = try since.map { try Self.moment($0, "--since") } ?? Date()
    request.until = try until.map { try Self.moment($0, "--until") }
    for filter in filters {
      let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw Self.refused(filter) }
      switch parts[0] {
      case "type" where ["vm", "image"].contains(parts[1]): request.types.insert(parts[1])
      case "event": request.actions.insert(parts[1])
      case "vm", "container": request.vms.insert(parts[1])
      case "image": request.images.insert(parts[1])
      case "request":
        guard let id = RequestID(rawValue: parts[1]) else { throw Self.refused(filter) }
        request.requests.insert(id)
      default: throw Self.refused(filter)
      }
    }
    try await global.engine().events(request) { event in
      guard format == .table else { return Self.writeJSON(event) }
      let attributes = event.attributes.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      let text =
        "\(Self.text(event.time)) \(event.type) \(event.action) \(event.id) (\(attributes.joined(separator: ", ")))"
      // Names and messages are others' words.
      Output.line(Table.printable(text))
    }
  }

  private struct Line: Encodable {
    var time: String
    var type: String
    var action: String
    var id: String
    var attributes: [String: String]
  }

  private static func writeJSON(_ event: Event) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    let line = Line(
      time: text(event.time), type: event.type, action: event.action, id: event.id, attributes: event.attributes)
    if let bytes = try? encoder.encode(line) { Output.line(String(decoding: bytes, as: UTF8.self)) }
  }

  private static func text(_ date: Date) -> String {
    date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }

  private static func refused(_ filter: String) -> EngineError {
    EngineError(
      .invalidArgument, "--filter \(filter) is not possible",
      advice: "write type=vm or type=image, event=ACTION, vm=NAME, image=NAME or request=ID, which has 16 digits")
  }

  private static func moment(_ text: String, _ flag: String) throws -> Date {
    guard let date = TimeSpan.moment(text) else {
      throw EngineError(
        .invalidArgument, "\(flag) \(text) is no time", advice: "write it as 10m, 2026-11-25 or 2026-11-25T10:00:00Z")
    }
    return date
  }
}
