import CGuest
import IgniteWire

/// Serves the host: requests, streams, and the end.
final class Agent {
  static let second: UInt64 = 1_000_000_000
  /// How long a descendant that keeps a process's outputs open is waited for.
  static let outputGrace = 2 * second
  /// How long the main process's exit waits for its acknowledgement.
  static let acknowledgeGrace = 10 * second

  /// How long after the main process's start what nobody waits for is done.
  static let finishDelay = second / 4

  let port: Port
  var loop = EventLoop()
  var processes: [GuestProcess] = []
  var launcher = Launcher()
  /// What the host said last; nil before it has.
  var configuration: Configuration?
  /// The program that takes this one's place as PID 1 has been started.
  var isMachine = false
  /// The table of mounts, in machine mode.
  var mounts: Int32 = -1
  var lastSerial: UInt64 = 0
  /// When the main process was started.
  var startedAt: UInt64?
  /// When something last went to the host of what the main process has left.
  var lastProgress: UInt64 = 0

  init(port: Port) {
    self.port = port
    // Three for each process.
    guest_limit_files(65_536, 524_288)
    watchPort()
  }

  func watchPort() { loop.watch(port.descriptor, events: guest_event_input | guest_event_output, role: .port) }

  var configured: Bool { configuration != nil }

  var main: GuestProcess? { processes.first { $0.isMain } }

  /// Serves until the machine ends.
  func run() -> Never {
    var busy = true
    while true {
      loop.wait(milliseconds: busy ? 0 : timeout()) { role, serial, events in dispatch(role, serial, events) }
      if port.canReceive { port.receive { handle($0) } }
      busy = pump() || port.canReceive
      expire()
      for process in processes { process.finish(port) }
      port.flush()
      // What was written made room for more.
      if !busy, port.hasRoom, port.writable { busy = pump() }
    }
  }

  private func dispatch(_ role: EventLoop.Role, _ serial: UInt64, _ events: UInt32) {
    let ready = events & (guest_event_input | guest_event_hangup) != 0
    switch role {
    case .port:
      if ready { port.readable = true }
      if events & guest_event_output != 0 { port.writable = true }
    case .children: reap()
    case .mounts: mountsChanged()
    case .input, .output, .error:
      guard let process = processes.first(where: { $0.serial == serial }) else { return }
      if events & (guest_event_output | guest_event_hangup) != 0, role != .error { process.input.becameWritable() }
      guard ready else { return }
      process.output(of: role == .error ? .standardError : .standardOutput)?.becameReadable()
    }
  }

  /// Moves outputs to the host while it takes them, one piece of each channel in turn.
  private func pump() -> Bool {
    var moved = false
    for process in processes where process.pump(port) {
      moved = true
      if process.isMain { lastProgress = guest_monotonic() }
    }
    return moved
  }
}
