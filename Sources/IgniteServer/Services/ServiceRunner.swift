internal import IgniteSystem
internal import Logging
internal import Synchronization

/// Runs a service, and starts it again when it fails.
struct ServiceRunner: Sendable {
  /// How long it waits before it starts a service again: twice as long each time.
  struct Backoff: Sendable {
    var first = Duration.seconds(1)
    var most = Duration.seconds(60)
    /// One that ran for so long begins anew with the first.
    var recovery = Duration.seconds(60)
  }

  let service: any DaemonService
  let board: HealthBoard
  let reloads: ReloadSignal
  let log: Logger
  var backoff = Backoff()

  /// Until it is cancelled, or the service has done what it is there for.
  func run() async {
    let name = service.name
    var delay = backoff.first
    while !Task.isCancelled {
      let began = ContinuousClock.now
      let (id, stream) = reloads.subscribe()
      defer { reloads.unsubscribe(id) }
      let board = board
      do {
        try await service.run(ServiceStatus(reloads: stream, log: log) { board.report(name, $0) })
        if !Task.isCancelled { board.report(name, .ready) }
        return
      } catch {
        if Task.isCancelled { return }
        let reason = userMessage(error)
        board.failed(name, reason)
        if began.duration(to: .now) > backoff.recovery { delay = backoff.first }
        log.error("a service failed, and is started again", metadata: ["error": "\(reason)", "after": "\(delay)"])
      }
      try? await Task.sleep(for: delay)
      delay = min(delay * 2, backoff.most)
    }
  }
}

/// Tells all services of a reload.
final class ReloadSignal: Sendable {
  private struct State {
    var next = 0
    var subscribers: [Int: AsyncStream<Void>.Continuation] = [:]
  }

  private let state = Mutex(State())

  func subscribe() -> (Int, AsyncStream<Void>) {
    let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let id = state.withLock { state in
      state.next += 1
      state.subscribers[state.next] = continuation
      return state.next
    }
    return (id, stream)
  }

  func unsubscribe(_ id: Int) { state.withLock { $0.subscribers.removeValue(forKey: id) }?.finish() }

  func send() { for subscriber in state.withLock({ Array($0.subscribers.values) }) { subscriber.yield() } }
}
