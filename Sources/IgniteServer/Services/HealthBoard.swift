internal import Synchronization

/// How the daemon and its services are.
public final class HealthBoard: Sendable {
  enum Report: Sendable {
    case ready
    case unhealthy(String)
  }

  /// One thing that was looked at.
  struct Check: Sendable, Equatable {
    var name: String
    /// What is wrong with it; nil where it is well.
    var failure: String?
  }

  private struct Service {
    var hasComeUp = false
    /// It came up, or has failed to once: nobody waits for it any more.
    var isSettled = false
    var failure: String?
    var restarts = 0
  }

  private struct State {
    var order: [String] = []
    var services: [String: Service] = [:]
    var isShuttingDown = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  init() {}

  func add(_ name: String) {
    state.withLock { state in
      state.order.append(name)
      state.services[name] = Service()
    }
  }

  func report(_ name: String, _ report: Report) {
    change(name) { service in
      switch report {
      case .ready:
        service.hasComeUp = true
        service.isSettled = true
        service.failure = nil
      case .unhealthy(let reason): service.failure = reason
      }
    }
  }

  /// It has thrown, and is to be started again.
  func failed(_ name: String, _ reason: String) {
    change(name) { service in
      service.isSettled = true
      service.failure = reason
      service.restarts += 1
    }
  }

  /// Lets go of who waits, too.
  func beginShutdown() {
    let waiters = state.withLock { state in
      state.isShuttingDown = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  var isShuttingDown: Bool { state.withLock { $0.isShuttingDown } }

  /// Services that are not well, with why.
  var failures: [Check] { state.withLock { Self.checks($0) }.filter { $0.failure != nil } }

  /// Whether every service has come up, or has failed to once.
  var isSettled: Bool { state.withLock { $0.services.values.allSatisfy(\.isSettled) } }

  /// Waits for that, or for the shutdown; a task's cancellation does not cut it short.
  func settled() async {
    await withCheckedContinuation { continuation in
      let isSettled = state.withLock { state in
        if state.isShuttingDown || state.services.values.allSatisfy(\.isSettled) { return true }
        state.waiters.append(continuation)
        return false
      }
      if isSettled { continuation.resume() }
    }
  }

  /// How many wait for that.
  var waiting: Int { state.withLock { $0.waiters.count } }

  /// Whether each service has come up, and the daemon is not on its way out.
  func readiness() -> [Check] {
    state.withLock { state in
      state.order.map { name in
        let hasComeUp = state.services[name]?.hasComeUp == true
        let reason = state.services[name]?.failure ?? "it has not come up yet"
        return Check(name: "service/\(name)", failure: hasComeUp ? nil : reason)
      } + [Check(name: "shutdown", failure: state.isShuttingDown ? "the daemon is ending" : nil)]
    }
  }

  /// Whether each service does what it is there for.
  func health() -> [Check] { state.withLock { Self.checks($0) } }

  func restarts() -> [(name: String, count: Int, isWell: Bool)] {
    state.withLock { state in
      state.order.compactMap { name in
        state.services[name].map { (name, $0.restarts, $0.failure == nil && $0.hasComeUp) }
      }
    }
  }

  private static func checks(_ state: State) -> [Check] {
    state.order.map { name in
      let service = state.services[name]
      let restarts = service.map { $0.restarts > 0 ? " (failed \($0.restarts) times)" : "" } ?? ""
      return Check(name: "service/\(name)", failure: service?.failure.map { $0 + restarts })
    }
  }

  private func change(_ name: String, _ body: (inout Service) -> Void) {
    let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      if var service = state.services[name] {
        body(&service)
        state.services[name] = service
      }
      guard state.services.values.allSatisfy(\.isSettled) else { return [] }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }
}
