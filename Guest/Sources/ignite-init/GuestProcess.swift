import CGuest
import IgniteWire

/// A process that the host has started, with its stream.
final class GuestProcess {
  /// Counts from 1; tells late events of one that has gone from those of its successor.
  let serial: UInt64
  let stream: UInt32
  let isMain: Bool
  let pid: Int32
  /// The terminal's master, or -1.
  let terminal: Int32
  let input: InputChannel
  /// One of a terminal, two of pipes; none where the output goes to the console.
  let outputs: [OutputChannel]
  /// Set when the process has been waited for.
  private(set) var status: ExitStatus?
  private(set) var endedAt: UInt64 = 0
  /// The exit has been sent in this session.
  var exitSent = false
  /// Ends of outputs that have been sent in this session.
  private var endsSent = 0
  /// The client has closed the stream, which only the main process outlives.
  private(set) var closed = false

  init(
    serial: UInt64, stream: UInt32, isMain: Bool, pid: Int32, terminal: Int32, input: InputChannel,
    outputs: [OutputChannel]
  ) {
    self.serial = serial
    self.stream = stream
    self.isMain = isMain
    self.pid = pid
    self.terminal = terminal
    self.input = input
    self.outputs = outputs
  }

  func output(of channel: Channel) -> OutputChannel? { outputs.first { $0.channel == channel } }

  func ended(_ status: ExitStatus) {
    self.status = status
    endedAt = guest_monotonic()
    input.shut()
  }

  /// A process that has ended may have left its number to another.
  func signal(_ number: Int32) {
    guard status == nil, number > 0, number <= 64 else { return }
    if pid == 1 {
      MachineMode.signal(number)
    } else {
      _ = guest_kill(pid, number)
    }
  }

  func resize(_ size: TerminalSize) {
    guard terminal >= 0, outputs.first?.ended == false else { return }
    _ = guest_resize_terminal(terminal, size.columns, size.rows)
  }

  /// The client has gone: hang up. The outputs of the main process are read on, or it would block.
  func close() {
    signal(SIGHUP)
    input.shut()
    closed = true
    for output in outputs {
      if isMain { output.discarding = true } else { output.shut() }
    }
  }

  /// For the main process when a host has connected anew: it is told again what the last one may not have heard.
  func beginSession() {
    input.resetCredit()
    for output in outputs { output.resetCredit() }
    exitSent = false
    endsSent = 0
    closed = false
  }

  /// Moves what there is, once a channel; true when there may be more.
  func pump(_ port: Port) -> Bool {
    var moved = false
    for output in outputs where port.hasRoom {
      if output.pump({ port.send(Frame(.data, stream: stream, channel: output.channel, payload: $0)) }) { moved = true }
    }
    let grant = input.takeGrant()
    if grant > 0 { port.send(.credit(stream: stream, channel: .standardInput, bytes: grant)) }
    return moved
  }

  /// Sends ends and the exit when their time has come.
  func finish(_ port: Port) {
    guard port.session != nil, !exitSent else { return }
    for (index, output) in outputs.enumerated() where output.ended && endsSent & (1 << index) == 0 {
      endsSent |= 1 << index
      port.send(Frame(.end, stream: stream, channel: output.channel))
    }
    guard let status, outputs.allSatisfy({ $0.ended }) else { return }
    exitSent = true
    port.send(Frame(.exit, stream: stream, payload: status.encoded()))
  }
}
