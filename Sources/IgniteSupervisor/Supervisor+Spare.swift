internal import Glibc
internal import IgniteHypervisor
internal import IgniteNetwork
internal import IgniteSystem
internal import IgniteWire

/// What a supervisor has as long as its machine is nobody's.
struct SpareState {
  /// The frames' socket, whose passt may be replaced by one that publishes ports.
  var frames: NetworkProcess.Frames?
  /// The agent's stream of the rehearsal; nil before it.
  var stream: UInt32?
  var isRehearsed = false
  var listener: FileDescriptor?
  /// The connection of who has asked for it.
  var asked: FileDescriptor?
}

/// A spare: a machine that was thawed and configured ahead of the VM that it will be, and stands still.
///
/// Nothing of the image has run in it. What makes VMs differ (time, random numbers, names) is told when it is taken; its
/// Ethernet address and its disk are those of the UID that it was given, which will be the VM's.
extension Supervisor {
  private static let rehearsalTimeout: Duration = .seconds(60)

  /// Waits until it is asked for; nil where its time is over, or it broke.
  func waitAsSpare(_ settings: SpawnPlan.Spare) async throws -> SpareClaim.Received? {
    console = try Console(path: plan.paths.console)
    var entry = self.entry(.starting)
    entry.supervisor = .current
    try await journal.append(entry, waits: false)
    try await startMachine()
    // Its end is to be seen on passt's.
    spare.frames?.hypervisors.close()
    let timer = loop.schedule(after: Self.rehearsalTimeout) { [weak self] in
      self?.assumeIsolated { $0.fail("the spare did not answer within \(Self.rehearsalTimeout)") }
    }
    configureWhenReady()
    await until { spare.isRehearsed }
    loop.cancelTimer(timer)
    guard outcome == nil, let machine else { return nil }
    try await machine.pause()

    unlink(settings.socket)
    let listener = try UnixSocket.listen(settings.socket, backlog: 16)
    spare.listener = listener
    try loop.watch(listener.number, for: .read) { [weak self] _ in self?.assumeIsolated { $0.acceptClaim() } }
    let idle = loop.schedule(after: .seconds(settings.idle)) { [weak self] in
      self?.assumeIsolated { $0.finish(Outcome(exitCode: 0, failure: nil)) }
    }
    tell(SpawnNotice(.spare))
    await until { spare.asked != nil }
    loop.cancelTimer(idle)
    stopAsking(settings)
    guard outcome == nil, let asked = spare.asked else { return nil }
    spare.asked = nil
    do {
      return try await ThreadExecutor.run { () throws -> SpareClaim.Received in try SpareClaim.receive(from: asked) }
    } catch {
      // Nobody is left to be told.
      finish(Outcome(exitCode: 0, failure: nil))
      return nil
    }
  }

  /// The machine goes on as the VM of the claim's plan.
  func become(_ claim: SpareClaim.Received) async throws {
    guard let machine else { return }
    phase = .booting
    try await machine.resume()
    Timeline.mark("thaw")
    networkIsReady = false
    try await replaceNetwork()
    Timeline.mark("network")
    guard outcome == nil else { return }
    networkIsReady = true
    configureWhenReady()
    watchBoot(machines)
    try await noteBooted(machine)
  }

  /// Ports that are published are passt's from its start on.
  private func replaceNetwork() async throws {
    defer { spare.frames = nil }
    guard case .passt(let settings) = plan.network, !settings.ports.isEmpty, let frames = spare.frames else { return }
    await network?.end()
    network = nil
    try await finishNetwork(try await NetworkProcess.begin(settings, frames: frames))
  }

  // MARK: Rehearsal

  /// Configures the guest, and has it start a program of its own: what the VM's program will pass through has been passed
  /// through once. Under emulation that is most of what a start takes.
  func rehearse() {
    guard spare.stream == nil else { return }
    lastAgentStream += 1
    spare.stream = lastAgentStream
    var request = ProcessRequest()
    request.arguments = [Array("/proc/self/exe".utf8)]
    do {
      try sendConfiguration()
      agent?.send(Frame(.request, stream: lastAgentStream, payload: request.encoded()))
    } catch {
      fail(userMessage(error))
    }
  }

  /// A guest that cannot rehearse is as good, and slower.
  func handleRehearsal(_ frame: Frame) {
    guard let stream = spare.stream else { return }
    switch frame.type {
    case .response:
      guard let response = try? Response(decoding: frame.payload), response.code == 0 else { return endRehearsal() }
    case .exit:
      agent?.send(Frame(.acknowledge, stream: stream))
      endRehearsal()
    default: break
    }
  }

  private func endRehearsal() {
    spare.isRehearsed = true
    stepTaken()
  }

  // MARK: Steps

  private func acceptClaim() {
    guard spare.asked == nil, let listener = spare.listener, let socket = UnixSocket.accept(listener.number) else {
      return
    }
    spare.asked = socket
    stepTaken()
  }

  /// Who has connected too finds the connection closed.
  private func stopAsking(_ settings: SpawnPlan.Spare) {
    unlink(settings.socket)
    guard let listener = spare.listener else { return }
    loop.cancelWatch(listener.number)
    listener.close()
    spare.listener = nil
  }
}
