import Foundation
import Glibc
import IgniteHypervisor
import IgniteSystem
import IgniteWire
import Synchronization

/// SplitMix64: the same numbers for the same seed.
struct FuzzNumbers: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count { withUnsafeBytes(of: next()) { bytes += $0 } }
    return Array(bytes.prefix(count))
  }
}

/// In the place of a hypervisor: a machine whose agent and console are this process's, and lie.
final class FakeHostileGuest: Hypervisor {
  let name = "FakeHostileGuest"
  let seed: UInt64
  /// Bytes that the guest sends, about.
  let amount: Int

  init(seed: UInt64, amount: Int) {
    self.seed = seed
    self.amount = amount
  }

  func version() throws(HypervisorError) -> String { "0" }

  func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    do {
      // A machine that ended early is followed by another.
      unlink(configuration.agentSocketPath)
      unlink(configuration.consoleSocketPath)
      let agent = try UnixSocket.listen(configuration.agentSocketPath)
      let console = try UnixSocket.listen(configuration.consoleSocketPath)
      await whenListening()
      guard let agent = UnixSocket.accept(agent.number), let console = UnixSocket.accept(console.number) else {
        throw SystemError("accept the supervisor")
      }
      return FakeHostileMachine(agent: agent, console: console, seed: seed, amount: amount)
    } catch {
      throw HypervisorError(.startFailed, "\(error)")
    }
  }
}

/// The machine: it writes what it likes to both channels, for as long as somebody takes it, and may then end by itself.
final class FakeHostileMachine: Machine {
  let identity = ProcessIdentity.current
  let events = AsyncStream<MachineEvent> { $0.finish() }
  private let over = Mutex(false)
  private let agent: FileDescriptor
  private let console: FileDescriptor

  init(agent: FileDescriptor, console: FileDescriptor, seed: UInt64, amount: Int) {
    self.agent = agent
    self.console = console
    for descriptor in [agent, console] {
      _ = fcntl(descriptor.number, F_SETFL, fcntl(descriptor.number, F_GETFL) & ~O_NONBLOCK)
    }
    Thread.detachNewThread { [self] in
      var numbers = FuzzNumbers(state: seed)
      let endsItself = Bool.random(using: &numbers)
      lie(&numbers, amount)
      if endsItself { end() }
    }
  }

  private func end() {
    over.withLock { $0 = true }
    shutdown(agent.number, Int32(SHUT_RDWR))
    shutdown(console.number, Int32(SHUT_RDWR))
  }

  func status() async throws(HypervisorError) -> MachineStatus { .running }
  func quit() async throws(HypervisorError) { end() }
  func kill() throws(HypervisorError) { end() }

  func ended() async -> MachineEnd {
    while !over.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(2)) }
    return MachineEnd(exitStatus: .exited(0), reason: .guestShutdown, diagnosis: "")
  }

  // MARK: Lies

  private func write(_ bytes: [UInt8], to descriptor: FileDescriptor) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor.number, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }

  /// Reads for ever, as an honest guest does; the streams that were opened are told.
  private func readEverything() {
    Thread.detachNewThread { [self] in
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = read(agent.number, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return }
      }
    }
  }

  private func lie(_ numbers: inout FuzzNumbers, _ amount: Int) {
    var preamble = [UInt8](repeating: 0, count: 24)
    var got = 0
    while got < preamble.count {
      let count = preamble.withUnsafeMutableBytes { read(agent.number, $0.baseAddress.map { $0 + got }, 24 - got) }
      guard count > 0 else { return }
      got += count
    }
    let session = preamble.suffix(4).enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << UInt32(8 * $1.offset) }
    if Int.random(in: 0..<3, using: &numbers) > 0 { readEverything() }
    var opening: [UInt8] = []
    if Int.random(in: 0..<8, using: &numbers) > 0 { opening += Preamble(session: session).encoded() }
    if Int.random(in: 0..<4, using: &numbers) > 0 {
      for stream: UInt32 in [1, 2] {
        opening += Frame(.response, stream: stream, payload: Response().encoded()).encoded(session: session)
      }
    }
    guard write(opening, to: agent) else { return }
    var left = amount
    let garbage = Bool.random(using: &numbers)
    while left > 0 {
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 1...40, using: &numbers) {
        var frame = frame(&numbers).encoded(session: session)
        if garbage, Int.random(in: 0..<200, using: &numbers) == 0 {
          frame[Int.random(in: frame.indices, using: &numbers)] ^= 1 << UInt8.random(in: 0..<8, using: &numbers)
        }
        bytes += frame
      }
      left -= bytes.count
      guard write(bytes, to: agent) else { return }
      if Int.random(in: 0..<8, using: &numbers) == 0 {
        guard write(numbers.bytes(.random(in: 1...4000, using: &numbers)), to: console) else { return }
      }
    }
  }

  private func frame(_ numbers: inout FuzzNumbers) -> Frame {
    let type = FrameType(rawValue: .random(in: 0...13, using: &numbers))
    let stream: UInt32 =
      switch Int.random(in: 0..<8, using: &numbers) {
      case 0: 0
      case 1: 1
      case 2...4: 2
      case 5, 6: .random(in: 3...12, using: &numbers)
      default: .random(in: 0 ... .max, using: &numbers)
      }
    // What ends the connection is rare, so that much comes before it.
    let isRare = Int.random(in: 0..<1000, using: &numbers) == 0
    let channel = Channel(
      rawValue: isRare ? .random(in: 0...255, using: &numbers) : .random(in: 1...2, using: &numbers))
    var payload: [UInt8]
    switch Int.random(in: 0..<8, using: &numbers) {
    case 0:
      payload = Response(code: Bool.random(using: &numbers) ? 0 : .random(in: 0 ... .max, using: &numbers)).encoded()
    case 1: payload = Response(code: 0, text: "\u{1b}[2J\u{9b}31m", value: numbers.next()).encoded()
    case 2 where isRare || stream > 2:
      return Frame(.exit, stream: stream, payload: ExitStatus(code: numbers.next(), signal: numbers.next()).encoded())
    case 2, 3: payload = withUnsafeBytes(of: UInt32(truncatingIfNeeded: numbers.next())) { Array($0) }
    case 4: payload = numbers.bytes(.random(in: 0...Wire.maximumPayload, using: &numbers))
    default: payload = numbers.bytes(.random(in: 0...40, using: &numbers))
    }
    if type == .exit, stream == 2, !isRare { return Frame(.credit, stream: stream, channel: channel, payload: payload) }
    if type == .response, stream == 1 || stream == 2, !isRare { payload = Response().encoded() }
    // Some floods are of many small frames, each of which is to be answered.
    if type == .data, Int.random(in: 0..<4, using: &numbers) > 0 { payload = Array(payload.prefix(1)) }
    return Frame(type, stream: stream, channel: channel, payload: payload)
  }
}
