public import FoundationEssentials
internal import IgniteAPI
public import IgniteEngine
internal import Synchronization

/// What has happened to one object, so many times alike: Kubernetes' Event.
public struct CountedEvent: Sendable, Equatable {
  /// Of the object: a kind of the schemas, or `Image`.
  public var kind: String
  /// The name that the object has, or had last.
  public var name: String
  /// Of a VM.
  public var uid: String?
  /// The event's, as `die`, without what follows a colon.
  public var action: String
  /// Empty where the action says it all.
  public var message: String
  public var count: Int
  public var first: Date
  public var last: Date
  /// Whether something went wrong.
  public var isWarning: Bool

  /// `VM/web`.
  public var title: String { "\(kind)/\(name)" }

  init(_ event: Event) {
    kind = KindSchema.all.first { $0.kind.lowercased() == event.type }?.kind ?? event.type.capitalized
    uid = event.type == "vm" ? event.id : nil
    name = uid == nil ? event.id : event.attributes["name"] ?? event.id
    // `health_status: healthy` is an action and what it came to.
    let parts = event.action.split(separator: ":", maxSplits: 1)
    action = parts.first.map(String.init) ?? event.action
    let result = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : nil
    let code = event.attributes["exitCode"]
    message =
      result ?? event.attributes["message"] ?? code.map { "its process has ended with \($0)" }
      ?? event.attributes["oldName"].map { "it was named \($0)" } ?? event.attributes["digest"] ?? ""
    isWarning = action == "die" ? code != "0" : result == "unhealthy"
    (count, first, last) = (1, event.time, event.time)
  }

  /// Equal ones, whatever came between them, are one with their number; in the order of their last times.
  /// - Parameter events: oldest first.
  public static func counted(_ events: [Event]) -> [CountedEvent] {
    struct Key: Hashable {
      var object: String
      var action: String
      var message: String
    }
    var (found, names) = ([Key: CountedEvent](), [String: String]())
    for event in events {
      var next = CountedEvent(event)
      if let uid = next.uid { names[uid] = next.name }
      let key = Key(object: "\(next.kind)/\(next.uid ?? next.name)", action: next.action, message: next.message)
      if let earlier = found[key] {
        next.count = earlier.count + 1
        next.first = min(earlier.first, next.first)
        next.last = max(earlier.last, next.last)
      }
      found[key] = next
    }
    return found.values.map { event in
      var event = event
      if let name = event.uid.flatMap({ names[$0] }) { event.name = name }
      return event
    }.sorted { ($0.last, $0.first, $0.title, $0.action) < ($1.last, $1.first, $1.title, $1.action) }
  }
}

extension String {
  fileprivate var capitalized: String { prefix(1).uppercased() + dropFirst() }
}

extension Controller {
  /// What the log of events keeps, counted.
  public func events(since: Date? = nil) async throws -> [CountedEvent] {
    var request = EventRequest()
    request.since = since
    request.follow = false
    let found = Mutex<[Event]>([])
    try await engine.events(request) { event in found.withLock { $0.append(event) } }
    return CountedEvent.counted(found.withLock { $0 })
  }
}
