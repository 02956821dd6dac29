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
  /// The command that asked for that.
  var endedBy: RequestID?
  /// Somebody asked for it by SIGKILL, which leaves a machine's init no status of its own.
  var killed = false
  /// Channels of output whose end has come.
  var ended: Set<UInt8> = []
  /// Bytes of standard input that the guest can take.
  var inputCredit = Wire.initialCredit
  /// Bytes of output, a channel each, that the guest has sent and got no new credit for.
  var outstanding: [UInt8: Int] = [:]
}

/// Whose a stream of the agent is.
struct Route {
  /// The client; nil once it has gone.
  var client: UInt64?
  var stream: UInt32
  /// It is a process; else work that the guest does for the client.
  var isProcess = false
  /// The guest has begun with it.
  var isAnswered = false
  /// The process goes on without the client, and its output is dropped.
  var isDetached = false
  /// Bytes of standard input that the guest can take.
  var inputCredit = Wire.initialCredit
}

extension Supervisor {
  // MARK: Agent

  func connectAgent() throws {
    let socket = try UnixSocket.connect(plan.machine.agentSocketPath)
    do throws(SystemError) {
      agent = try FrameConnection(loop: loop, descriptor: socket, role: .client(session: .random(in: 1 ... .max))) {
        [weak self] event in self?.assumeIsolated { $0.handleAgent(event) }
      }
    } catch  where error.code == ECONNRESET {
      // Of its end the machine tells more.
      handleAgent(.closed(reason: nil))
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
      // What is sent to a guest that reads nothing would fill this process's memory.
      guard agentTakesMore else { return fail("the guest does not read what it is sent\(consoleTail())") }
      switch frame.stream {
      case 0: if frame.type == .event { console?.write(Array("ignite-init: ".utf8) + frame.payload + [10]) }
      case Self.configureStream: handleConfigured(frame)
      case Self.mainStream: handleMain(frame)
      case spare.stream: handleRehearsal(frame)
      case health.stream: handleCheck(frame)
      case given.stream: handleGiving(frame)
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

  /// Whether what waits for the guest is within what credit allows, with room for what knows none.
  var agentTakesMore: Bool {
    (agent?.queued ?? 0) <= (16 << 20) + routes.count * (Wire.initialCredit + Wire.maximumPayload)
  }

  /// How much of the credit that a guest grants is so: never more than a channel begins with.
  static func granted(_ bytes: UInt32, beside credit: Int) -> Int {
    min(Int(bytes), max(0, Wire.initialCredit - credit))
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
        // Said once, and after it was asked for.
        guard main.requested, phase == .booting else { return }
        processStarted()
      } else {
        fail(response.text, code: Int32(clamping: min(response.code, 127)))
      }
    case .data: receiveOutput(frame)
    case .end where frame.channel.isOutput:
      if main.ended.insert(frame.channel.rawValue).inserted {
        sendToAttached(Frame(.end, stream: 0, channel: frame.channel))
      }
    case .credit:
      guard let bytes = frame.number.map({ Self.granted($0, beside: main.inputCredit) }) else { return }
      main.inputCredit += bytes
      for client in clients.values {
        if let attached = client.attached, attached.input {
          client.connection.send(.credit(stream: attached.stream, channel: .standardInput, bytes: bytes))
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
    guard frame.channel.isOutput else {
      return fail("the guest broke the protocol: a process has no output of number \(frame.channel.rawValue)")
    }
    let outstanding = main.outstanding[frame.channel.rawValue, default: 0] + frame.payload.count
    // Twice, for a new session begins with full credit while bytes of the old one are still here.
    guard outstanding <= 2 * Wire.initialCredit else {
      return fail("the guest broke the protocol: it sent more output than there was room for\(consoleTail())")
    }
    main.outstanding[frame.channel.rawValue] = outstanding
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
    main.outstanding[chunk.channel.rawValue, default: 0] -= chunk.bytes.count
    agent?.send(.credit(stream: Self.mainStream, channel: chunk.channel, bytes: chunk.bytes.count))
  }

}

extension Channel {
  var isOutput: Bool { self == .standardOutput || self == .standardError }
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
