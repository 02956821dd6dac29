internal import FoundationEssentials
internal import Glibc
internal import IgniteHypervisor
internal import IgniteSystem
internal import IgniteWire

/// The main process, as the supervisor knows it.
struct MainProcess {
  /// Configuration and start have been sent.
  var requested = false
  /// The status a shell would show; nil while it runs.
  var exit: Int32?
  /// Somebody asked for the end.
  var stopping = false
  /// Somebody asked for it by SIGKILL, which leaves a machine's init no status of its own.
  var killed = false
  /// Channels of output whose end has come.
  var ended: Set<UInt8> = []
  /// Bytes of standard input that the guest can take.
  var inputCredit = Wire.initialCredit
}

/// Whose a stream of the agent is.
struct Route {
  /// The client; nil once it has gone.
  var client: UInt64?
  var stream: UInt32
  /// The process goes on without the client, and its output is dropped.
  var isDetached = false
  /// Bytes of standard input that the guest can take.
  var inputCredit = Wire.initialCredit
}

extension Supervisor {
  // MARK: Agent

  func connectAgent() throws {
    let socket = try UnixSocket.connect(plan.machine.agentSocketPath)
    agent = try FrameConnection(loop: loop, descriptor: socket, role: .client(session: .random(in: 1 ... .max))) {
      [weak self] event in self?.assumeIsolated { $0.handleAgent(event) }
    }
  }

  private func handleAgent(_ event: FrameConnection.Event) {
    switch event {
    case .opened:
      agentOpen = true
      // A thawed guest has been booted already: what it takes to answer belongs to its configuration.
      if frozen == nil { Timeline.mark("boot") }
      configureWhenReady()
      stepTaken()
    case .frame(let frame):
      switch frame.stream {
      case 0: if frame.type == .event { console?.write(Array("ignite-init: ".utf8) + frame.payload + [10]) }
      case Self.configureStream: handleConfigured(frame)
      case Self.mainStream: handleMain(frame)
      case spare.stream: handleRehearsal(frame)
      case health.stream: handleCheck(frame)
      default: if !clockWasSet(frame) { passToClient(frame) }
      }
    case .drained: break
    case .closed(let reason):
      agent = nil
      // A hypervisor that does not come up says itself why; a thawed machine that goes now is booted instead.
      // So is one whose kernel was of no use.
      if phase == .starting || (phase == .booting && (frozen != nil || !agentOpen)) { return }
      // The machine's own end tells more; give it the word.
      guard main.exit == nil, let reason else { return }
      fail("the guest's agent: \(reason)\(consoleTail())")
    }
  }

  private func handleConfigured(_ frame: Frame) {
    guard frame.type == .response else { return }
    guard let response = try? Response(decoding: frame.payload) else {
      return fail("the guest's answer makes no sense")
    }
    if response.code != 0 { return fail("the guest could not be set up: \(response.text)") }
    Timeline.mark("configure")
  }

  private func handleMain(_ frame: Frame) {
    switch frame.type {
    case .response:
      guard let response = try? Response(decoding: frame.payload) else {
        return fail("the guest's answer makes no sense")
      }
      if response.code == 0 {
        processStarted()
      } else {
        fail(response.text, code: Int32(clamping: min(response.code, 127)))
      }
    case .data: receiveOutput(frame)
    case .end:
      if main.ended.insert(frame.channel.rawValue).inserted {
        sendToAttached(Frame(.end, stream: 0, channel: frame.channel))
      }
    case .credit:
      guard let bytes = frame.number else { return }
      main.inputCredit += Int(min(bytes, UInt32(Wire.initialCredit)))
      for client in clients.values {
        if let attached = client.attached, attached.input {
          client.connection.send(.credit(stream: attached.stream, channel: .standardInput, bytes: Int(bytes)))
        }
      }
    case .exit:
      guard let status = try? ExitStatus(decoding: frame.payload) else {
        return fail("the guest's answer makes no sense")
      }
      processExited(status)
    default: break
    }
  }

  /// Output goes to the log and to who is attached; the guest may send more when all of them have it.
  private func receiveOutput(_ frame: Frame) {
    log.append(frame.payload, stream: frame.channel == .standardError ? "stderr" : "stdout")
    let chunk = OutputChunk(channel: frame.channel, bytes: frame.payload)
    var holders = 0
    for id in clients.keys where clients[id]?.attached != nil {
      if !deliver(chunk, to: id) { holders += 1 }
    }
    chunk.holders = holders
    if holders == 0 { grant(chunk) }
  }

  func grant(_ chunk: OutputChunk) {
    if chunk.isConsole { return }
    agent?.send(.credit(stream: Self.mainStream, channel: chunk.channel, bytes: chunk.bytes.count))
  }

}

/// A piece of output on its way to clients that have no credit for it yet.
final class OutputChunk {
  let channel: Channel
  let bytes: [UInt8]
  /// It came from a machine's console, which knows no credit.
  let isConsole: Bool
  /// Clients that still hold it.
  var holders = 0

  init(channel: Channel, bytes: [UInt8], isConsole: Bool = false) {
    self.channel = channel
    self.bytes = bytes
    self.isConsole = isConsole
  }
}
