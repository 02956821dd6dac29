internal import FoundationEssentials
internal import Glibc
internal import IgniteHypervisor
internal import IgniteSystem
internal import IgniteWire

/// How often a VM has been started again, and how long it waits before the next time.
public struct Restarts: Sendable, Equatable {
  /// Milliseconds before the first restart, and at most before any.
  static let firstDelay = 100
  static let longestDelay = 60_000
  /// One that ran for so long, in nanoseconds, begins anew with the first delay.
  static let healthyAfter: UInt64 = 10_000_000_000

  public var count: Int
  /// Milliseconds that were waited before this start.
  public var delay: Int
  /// Whether another start follows this life; nil before its end.
  var isNext: Bool?
  private var runningSince: UInt64?

  public init(count: Int = 0, delay: Int = 0) {
    self.count = count
    self.delay = delay
  }

  /// What a supervisor is told of them, after its plan: `--restarts COUNT MILLISECONDS`.
  public var arguments: [String] { ["--restarts", "\(count)", "\(delay)"] }

  mutating func began() { runningSince = Timeline.now() }

  /// Whether the process ran in this life, or did in an earlier one.
  var hasRun: Bool { runningSince != nil || count > 0 }

  /// Milliseconds to wait before the next start: twice the last ones, or the first anew.
  func nextDelay(now: UInt64 = Timeline.now()) -> Int {
    if let runningSince, now - runningSince >= Self.healthyAfter { return Self.firstDelay }
    return min(max(delay * 2, Self.firstDelay), Self.longestDelay)
  }
}

/// Restarts: the supervisor ends the machine, waits, and takes its own place with a fresh process image, which starts
/// another one. Its pid, the VM's lock and the template's files stay.
extension Supervisor {
  private static let planPlace: Int32 = 8

  /// The journal's entry for this end; decides whether it is one.
  func endEntry(_ exitCode: Int32, failure: String?) -> JournalEntry {
    let again = restarts.isNext ?? wantsRestart(exitCode, failure: failure)
    restarts.isNext = again
    var entry = self.entry(again ? .restarting : failure == nil ? .exited : .failed)
    entry.exitCode = exitCode
    entry.message = failure
    if again { entry.restarts = restarts.count + 1 }
    return entry
  }

  /// A VM whose process never ran is not tried again: what is wrong is told to who started it.
  private func wantsRestart(_ exitCode: Int32, failure: String?) -> Bool {
    guard let restart = plan.restart, plan.spare == nil, !main.stopping, restarts.hasRun else { return false }
    switch restart.policy {
    case "OnFailure": return (exitCode != 0 || failure != nil) && (restart.limit == 0 || restarts.count < restart.limit)
    case "Always", "UnlessStopped": return true
    default: return false
    }
  }

  /// Waits for the next start; false where somebody asked for the end meanwhile, which is noted.
  func waitToRestart(_ outcome: Outcome) async -> Bool {
    phase = .restarting
    machine = nil
    for (id, client) in clients where client.attached != nil { finishAttached(id) }
    restarts.delay = restarts.nextDelay()
    restarts.count += 1
    if !main.stopping {
      let timer = loop.schedule(after: .milliseconds(restarts.delay)) { [weak self] in
        self?.assumeIsolated { $0.endWaitToRestart() }
      }
      await withCheckedContinuation { restarting = $0 }
      loop.cancelTimer(timer)
    }
    guard main.stopping else {
      await journal.shorten()
      return true
    }
    var entry = self.entry(outcome.failure == nil ? .exited : .failed)
    entry.exitCode = outcome.exitCode
    entry.message = outcome.failure
    try? await journal.append(entry)
    return false
  }

  func endWaitToRestart() {
    restarting?.resume()
    restarting = nil
  }

  /// Takes this process's place. Returns only where that fails; the VM has ended then.
  func startAnew() {
    do {
      plan.successor = nil
      let encoded = try JSONEncoder().encode(plan)
      let file = try MemoryFile.make("ignite-plan")
      let written = encoded.withUnsafeBytes { write(file.number, $0.baseAddress, $0.count) }
      guard written == encoded.count else { throw SystemError("keep the plan") }
      // A spare's notices came over a socket, and have another place.
      guard dup2(file.number, Self.planPlace) >= 0, notices.number == 3 || dup2(notices.number, 3) >= 0 else {
        throw SystemError("keep the plan")
      }
      for place in [3, lock.number, Self.planPlace] { _ = fcntl(place, F_SETFD, 0) }
      if plan.template != nil {
        for place in Int32(5)...7 { _ = fcntl(place, F_SETFD, 0) }
        lseek(6, 0, SEEK_SET)
      }
      var none = sigset_t()
      sigemptyset(&none)
      pthread_sigmask(SIG_SETMASK, &none, nil)
      let words = ["ignite-spawn", "/proc/self/fd/\(Self.planPlace)"] + restarts.arguments
      var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
      execve("/proc/self/exe", &arguments, environ)
      throw SystemError("start again")
    } catch {
      tell(SpawnNotice(.failed, code: 125, message: userMessage(error)))
    }
  }
}
