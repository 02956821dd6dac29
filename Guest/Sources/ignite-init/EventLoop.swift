import CGuest

/// epoll, edge-triggered: a descriptor is told of once when it becomes ready, and is used until it says EAGAIN.
struct EventLoop {
  /// What a descriptor is, within a process; the low byte of an event's token.
  enum Role: UInt8 {
    case port = 0
    case children = 1
    case input = 2
    case output = 3
    case error = 4
    /// The table of mounts, in machine mode.
    case mounts = 5
  }

  private let epoll: Int32
  /// Tells of children that have ended.
  private let signals: Int32

  init() {
    epoll = guest_epoll_create()
    signals = guest_child_signals()
    if epoll < 0 || signals < 0 { Console.log("epoll: " + errorText(guest_errno())) }
    watch(signals, events: guest_event_input, role: .children)
  }

  /// For the process that has not made it: its signals come to the one that made it.
  func discard() {
    close(epoll)
    close(signals)
  }

  /// `serial` tells processes apart, and is never used again: an event that comes late finds nobody.
  func watch(_ descriptor: Int32, events: UInt32, role: Role, serial: UInt64 = 0) {
    _ = guest_epoll_add(epoll, descriptor, events, serial << 8 | UInt64(role.rawValue))
  }

  /// Calls `body` for each event; waits at most `milliseconds`, without end when it is -1.
  func wait(milliseconds: Int32, _ body: (_ role: Role, _ serial: UInt64, _ events: UInt32) -> Void) {
    withUnsafeTemporaryAllocation(of: guest_event.self, capacity: 32) { buffer in
      let count = guest_epoll_wait(epoll, buffer.baseAddress, 32, milliseconds)
      for index in 0..<max(0, Int(count)) {
        let event = buffer[index]
        guard let role = Role(rawValue: UInt8(truncatingIfNeeded: event.token)) else { continue }
        if role == .children { guest_drain_signals(signals) }
        body(role, event.token >> 8, event.events)
      }
    }
  }
}
