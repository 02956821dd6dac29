internal import CIgniteSystem
internal import FoundationEssentials
internal import Glibc
public import IgniteHypervisor
internal import IgniteNetwork
public import IgniteSystem
internal import IgniteWire

/// One VM's supervisor: it owns the hypervisor, the guest's channel, the log and the journal, and serves `spawn.sock`.
///
/// It runs on an event loop, which is the actor's executor, so every event is handled on the actor without a hop.
/// Its life is `run`: bring the machine up, pass frames between clients and guest, and put everything away.
public actor Supervisor {
  /// How the VM's life ended.
  struct Outcome: Sendable {
    /// What a command returns: the process's status, or 125 to 127.
    var exitCode: Int32
    /// Why it failed; nil for a process that ran.
    var failure: String?
  }

  enum Phase: String {
    /// `spare`: the machine is nobody's yet.
    /// `restarting`: the machine has ended, and the next one is waited for.
    case starting, spare, booting, running, restarting, ending
  }

  /// Replaced when a VM is made of a spare.
  var plan: SpawnPlan
  let hypervisor: any Hypervisor
  let loop: EventLoop
  let journal: Journal
  /// Where the command that started us reads how far we are; lines of `SpawnNotice`.
  private(set) var notices: FileDescriptor
  let lock: FileDescriptor

  var phase = Phase.starting
  var machine: (any Machine)?
  var network: NetworkProcess?
  /// The template to start from; nil once the machine is booted instead.
  var frozen: FrozenMachine?
  /// Whether what the guest may do at once will find its network.
  var networkIsReady = false
  /// How many machines have been started: one, or two where a template did not thaw.
  var machines = 0
  var agent: FrameConnection?
  var agentOpen = false
  var console: Console?
  var log: LogWriter
  var clients: [UInt64: Client] = [:]
  var lastClient: UInt64 = 0
  /// Which client's stream an agent's stream is; streams 1 and 2 are ours.
  var routes: [UInt32: Route] = [:]
  var lastAgentStream: UInt32 = Supervisor.mainStream
  var main = MainProcess()
  var pause = PauseState()
  var spare = SpareState()
  var restarts: Restarts
  var health = HealthState()
  var given = GivenFilesState()
  private var listener: FileDescriptor?
  private(set) var outcome: Outcome?
  private var waiting: CheckedContinuation<Outcome, Never>?
  private var attachAwaited: Bool
  private var closing: CheckedContinuation<Void, Never>?
  var restarting: CheckedContinuation<Void, Never>?
  /// Who waits for the next step on the way up.
  private var awaitingStep: CheckedContinuation<Void, Never>?
  /// Writes the process's end down, and then tells it.
  private var announcing: Task<Void, Never>?
  /// Why a console or agent could not be connected to.
  var connectionFailure: (any Error)?
  /// A machine's end, of which its console has still to tell.
  private var endAwaitingConsole: MachineEnd?

  static let configureStream: UInt32 = 1
  static let mainStream: UInt32 = 2

  public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

  /// - Parameters:
  ///   - notices: the pipe to the command that started us.
  ///   - lock: the VM's lock, held until the process ends.
  ///   - frozen: the template that the plan names.
  public init(
    plan: SpawnPlan, hypervisor: any Hypervisor, notices: FileDescriptor, lock: FileDescriptor,
    frozen: FrozenMachine? = nil, restarts: Restarts = Restarts()
  ) throws {
    self.restarts = restarts
    self.frozen = frozen
    self.plan = plan
    self.hypervisor = hypervisor
    self.notices = notices
    self.lock = lock
    loop = try EventLoop(name: "ignite-spawn")
    journal = try Journal(path: plan.paths.journal)
    log = try LogWriter(path: plan.paths.log, bounds: plan.logs ?? .usual)
    attachAwaited = plan.waitsForClient && restarts.count == 0
  }

  /// Runs the VM from start to end.
  public func run() async {
    do {
      try await bringUp()
    } catch {
      finish(Outcome(exitCode: 125, failure: userMessage(error)))
    }
    let outcome = await withCheckedContinuation { (continuation: CheckedContinuation<Outcome, Never>) in
      if let ended = self.outcome { continuation.resume(returning: ended) } else { waiting = continuation }
    }
    await tearDown(outcome)
  }

  // MARK: Up

  private func bringUp() async throws {
    if let successor = plan.successor {
      // Clients are taken when there is somebody to pass them on to.
      try await takeOver(successor)
      guard outcome == nil else { return }
      try await listen(as: .adopted)
      return tell(SpawnNotice(.running))
    }
    if let settings = plan.spare {
      guard let claim = try await waitAsSpare(settings) else { return }
      Timeline.reset()
      take(claim)
      try await listen()
      return try await become(claim)
    }
    try await listen()
    console = try Console(path: plan.paths.console)
    guard frozen != nil else { return try await startMachine() }
    do {
      try await startMachine()
    } catch  where frozen != nil {
      await bootInstead(userMessage(error))
      try await startMachine()
    }
  }

  private func listen(as event: JournalEntry.Event = .starting) async throws {
    unlink(plan.paths.spawnSocket)
    let listener = try UnixSocket.listen(plan.paths.spawnSocket)
    self.listener = listener
    try loop.watch(listener.number, for: .read) { [weak self] _ in self?.assumeIsolated { $0.acceptClients() } }
    try watchStarter()
    var entry = self.entry(event)
    entry.supervisor = .current
    if event == .starting, restarts.count > 0 { entry.restarts = restarts.count }
    try await journal.append(entry, waits: false)
    tell(SpawnNotice(.listening))
    Timeline.mark("supervisor")
    CrashPoint.pass(.supervisorListening)
  }

  /// An entry for the journal.
  /// - Parameter request: of the command that it is due to; else it is the one that ends the VM, or that started it.
  func entry(_ event: JournalEntry.Event, request: RequestID? = nil) -> JournalEntry {
    var entry = JournalEntry(event)
    entry.request = request ?? main.endedBy ?? plan.request
    return entry
  }

  /// From now on it is the VM that the plan tells of.
  func take(_ claim: SpareClaim.Received) {
    plan = claim.plan
    notices = claim.notices
    attachAwaited = plan.waitsForClient
    if let fresh = try? LogWriter(path: plan.paths.log, bounds: plan.logs ?? .usual) { log = fresh }
  }

  func machineEnded(_ end: MachineEnd) {
    guard plan.process.machine, console?.isOpen == true else { return conclude(end) }
    // What its console said last is still on the way.
    endAwaitingConsole = end
    loop.schedule(after: .seconds(2)) { [weak self] in self?.assumeIsolated { $0.consoleEnded() } }
  }

  func consoleEnded() {
    guard let end = endAwaitingConsole else { return }
    endAwaitingConsole = nil
    conclude(end)
  }

  private func conclude(_ end: MachineEnd) {
    if main.exit != nil { return finish(Outcome(exitCode: main.exit ?? 0, failure: nil)) }
    if phase == .running && plan.process.machine && end.isOrderly {
      let status = main.killed ? 137 : console?.initStatus?.shellStatus ?? 0
      return finish(Outcome(exitCode: status, failure: nil))
    }
    if main.stopping { return finish(Outcome(exitCode: 137, failure: nil)) }
    fail("\(hypervisor.name) ended before the VM's process did\(end.explanation)\(consoleTail())")
  }

  /// The command that started us may be gone before it has joined; then nobody wants this VM.
  private func watchStarter() throws {
    try loop.watch(notices.number, for: []) { [weak self] _ in
      self?.assumeIsolated { supervisor in
        supervisor.loop.cancelWatch(supervisor.notices.number)
        if supervisor.attachAwaited { supervisor.fail("the command that started it is gone") }
      }
    }
  }

  // MARK: Progress

  /// Called when the guest has opened its side, and when a client has joined: configures once both are there.
  func configureWhenReady() {
    guard agentOpen, networkIsReady else { return }
    if phase == .spare { return rehearse() }
    guard !attachAwaited, phase == .booting, !main.requested else { return }
    main.requested = true
    do {
      try sendConfiguration()
      giveFiles()
    } catch {
      fail(userMessage(error))
    }
  }

  func sendConfiguration() throws {
    let configuration = try plan.guest.configuration(wallClock: wallClock(), entropy: entropy())
    agent?.send(Frame(.request, stream: Self.configureStream, payload: configuration.encoded()))
  }

  func clientJoined() {
    attachAwaited = false
    configureWhenReady()
  }

  func processStarted() {
    Timeline.mark("process")
    phase = .running
    // The machine has its own hold on it; another start needs it again.
    if plan.restart == nil { frozen = nil }
    restarts.began()
    sendToAttached(Frame(.response, stream: 0, payload: Response().encoded()))
    let journal = journal
    var entry = self.entry(.running)
    // In one with it: nobody sees a VM that runs, and is not being checked yet.
    if plan.health != nil { entry.health = HealthReport.Status.starting.rawValue }
    let running = entry
    Task {
      try? await journal.append(running)
      self.beginHealth()
      CrashPoint.pass(.supervisorRunning)
      var notice = SpawnNotice(.running)
      notice.marks = Timeline.marks
      self.tell(notice)
    }
  }

  /// The main process has ended: remember it, then tell everybody, then let the guest power off.
  func processExited(_ status: ExitStatus) {
    guard main.exit == nil else { return }
    main.exit = status.shellStatus
    phase = .ending
    continueForTheEnd()
    log.finish()
    let journal = journal
    announcing = Task {
      try? await journal.append(self.endEntry(status.shellStatus, failure: nil))
      CrashPoint.pass(.supervisorExited)
      self.announceExit(status)
    }
  }

  private func announceExit(_ status: ExitStatus) {
    sendToAttached(Frame(.exit, stream: 0, payload: status.encoded()))
    // Nobody will see its disk again.
    if plan.discards == true { return finish(Outcome(exitCode: status.shellStatus, failure: nil)) }
    agent?.send(Frame(.acknowledge, stream: Self.mainStream))
    // The guest has file systems to unmount; one that does not end is ended.
    loop.schedule(after: .seconds(15)) { [weak self] in
      self?.assumeIsolated { $0.finish(Outcome(exitCode: status.shellStatus, failure: nil)) }
    }
  }

  func fail(_ message: String, code: Int32 = 125) {
    finish(Outcome(exitCode: code, failure: message))
  }

  /// Waits for a step of the way up; also for the end, which comes in its place.
  func until(_ isDone: () -> Bool) async {
    while outcome == nil, !isDone() { await withCheckedContinuation { awaitingStep = $0 } }
  }

  func stepTaken() {
    awaitingStep?.resume()
    awaitingStep = nil
  }

  /// The first outcome counts.
  func finish(_ outcome: Outcome) {
    guard self.outcome == nil else { return }
    self.outcome = outcome
    phase = .ending
    waiting?.resume(returning: outcome)
    waiting = nil
    stepTaken()
  }

  // MARK: Down

  private func tearDown(_ outcome: Outcome) async {
    if let machine { await end(machine) }
    await network?.end()
    // A slow disk may have kept it until now, and the guest has not waited.
    await announcing?.value
    CrashPoint.pass(.supervisorDown)
    agent?.close()
    console?.close()
    log.finish()
    endRoutes()
    if main.exit == nil {
      try? await journal.append(endEntry(outcome.exitCode, failure: outcome.failure))
      if let failure = outcome.failure {
        // Who waits for it to run waits on, where it is started again.
        if restarts.isNext != true { tell(SpawnNotice(.failed, code: outcome.exitCode, message: failure)) }
        failAttached(code: outcome.exitCode, message: failure)
      } else {
        sendToAttached(Frame(.exit, stream: 0, payload: ExitStatus(shellStatus: outcome.exitCode).encoded()))
      }
    }
    if restarts.isNext == true, await waitToRestart(outcome) { startAnew() }
    if let listener {
      loop.cancelWatch(listener.number)
      listener.close()
    }
    for path in [
      plan.paths.spawnSocket, plan.machine.agentSocketPath, plan.machine.controlSocketPath,
      plan.machine.consoleSocketPath,
    ] + [plan.spare?.socket].compactMap(\.self) { unlink(path) }
    await closeClients()
    loop.stop()
  }

  /// Ends the machine, if it has not ended, and waits for it.
  private func end(_ machine: any Machine) async {
    try? machine.kill()
    _ = await machine.ended()
  }

  /// Returns once every client has gone.
  func allClientsGone() async {
    if clients.isEmpty { return }
    await withCheckedContinuation { closing = $0 }
  }

  func resumeClosing() {
    guard clients.isEmpty else { return }
    closing?.resume()
    closing = nil
  }

  var listenerNumber: Int32? { listener.map(\.number) }

  /// The command that stays with the VM has not joined yet.
  var attachIsAwaited: Bool { attachAwaited }

  func tell(_ notice: SpawnNotice) { notice.write(to: notices) }

  func wallClock() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }

  private func entropy() throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 64)
    try retrying("getrandom") { getrandom(&bytes, bytes.count, 0) }
    return bytes
  }
}

extension MachineEnd {
  /// The guest went down by itself.
  var isOrderly: Bool { reason == .guestShutdown || reason == .guestReset }

  /// Why, for the end of a sentence; empty where nothing is known.
  var explanation: String {
    let words = diagnosis.split(separator: "\n").last.map(String.init)
    switch (words, exitStatus) {
    case (let words?, _): return " (\(words))"
    case (nil, .signalled(let number)?): return " (by signal \(number))"
    default: return reason.map { " (\($0.rawValue))" } ?? ""
    }
  }
}
