public import FoundationEssentials
internal import Glibc
internal import IgniteAPI
internal import IgniteStore
internal import IgniteSupervisor
public import IgniteSystem

/// Which events are wanted.
public struct EventRequest: Sendable {
  public var since: Date?
  /// What comes later is not waited for.
  public var until: Date?
  /// What is still to happen, too.
  public var follow = true
  public var types: Set<String> = []
  public var actions: Set<String> = []
  /// Names, or beginnings of UIDs.
  public var vms: Set<String> = []
  public var images: Set<String> = []
  public var requests: Set<RequestID> = []

  public init() {}

  func suits(_ event: Event) -> Bool {
    if let since, event.time < since { return false }
    if let until, event.time >= until { return false }
    guard types.isEmpty || types.contains(event.type) else { return false }
    // `health_status` is all of its kinds.
    let base = event.action.split(separator: ":").first.map(String.init) ?? event.action
    guard actions.isEmpty || actions.contains(event.action) || actions.contains(base) else { return false }
    let image = event.type == "image" ? event.id : event.attributes["image"] ?? ""
    guard images.isEmpty || images.contains(image) else { return false }
    guard requests.isEmpty || event.request.map(requests.contains) ?? false else { return false }
    guard !vms.isEmpty else { return true }
    return event.type == "vm"
      && vms.contains { event.attributes["name"] == $0 || ($0.utf8.count >= 4 && event.id.hasPrefix($0)) }
  }
}

extension Engine {
  var eventLog: EventLog { EventLog(path: paths.data + "/events") }

  /// Notes something that an operation has done; no operation fails for it.
  func note(_ event: Event) async {
    var event = event
    event.request = RequestID.current
    let (log, noted) = (eventLog, event)
    await ThreadExecutor.run { log.append([noted]) }
  }

  static func attributes(of vm: VM) -> [String: String] {
    ["name": vm.metadata.name, "image": vm.spec.image.oci]
  }

  /// What a VM's journal has told, taken over before it goes with the VM.
  func keepEvents(of vm: VM) async {
    let (log, path) = (eventLog, paths.journal(vm.metadata.uid))
    var end = Event("vm", "destroy", id: vm.metadata.uid, attributes: Self.attributes(of: vm))
    end.request = RequestID.current
    let last = end
    await ThreadExecutor.run { log.append(Self.events(of: vm, journal: path, from: 0) + [last]) }
  }

  /// Calls `body` for each event, oldest first; with `follow` until the task is cancelled or `until` has come.
  public func events(_ request: EventRequest, _ body: @Sendable (Event) -> Void) async throws {
    var reader = EventLog.Reader(eventLog)
    // How many entries of a VM's journal have been told.
    var told: [String: Int] = [:]
    while true {
      let vms = try await recordedVMs()
      let now = Date()
      var found = await ThreadExecutor.run { [reader] in
        var reader = reader
        let events = reader.rest()
        return (events, reader)
      }
      reader = found.1
      // What was taken over from a journal has been told as far as that had been read.
      found.0.removeAll { event in event.place.map { $0 < told[event.id] ?? 0 } ?? false }
      var events = found.0
      for vm in vms {
        let uid = vm.metadata.uid
        let (path, from) = (paths.journal(uid), told[uid] ?? 0)
        let more = await ThreadExecutor.run { Self.events(of: vm, journal: path, from: from) }
        // One that was shortened begins anew.
        if let last = more.last?.place { told[uid] = last + 1 }
        events += more
      }
      for event in events.enumerated().sorted(by: { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) })
      where request.suits(event.element) { body(event.element) }
      guard request.follow else { return }
      if let until = request.until, now >= until { return }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// A journal's events from its entry `from` on, each with its place. Blocking.
  private static func events(of vm: VM, journal: String, from: Int) -> [Event] {
    guard let entries = try? Journal.read(path: journal, from: 0).entries else { return [] }
    let begin = from > entries.count ? 0 : from
    return entries.enumerated().dropFirst(begin).compactMap { place, entry in
      var event = Event(entry, uid: vm.metadata.uid, attributes: attributes(of: vm))
      event?.place = place
      return event
    }
  }
}
