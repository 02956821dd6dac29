internal import CIgniteSystem
internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// Signals to this command: at first they cancel its work, so that it cleans up behind itself; once a process runs in
/// the foreground they go to that process.
final class Interrupts: Sendable {
  private static let last = Mutex<Int32?>(nil)
  /// The last signal that cancelled a command.
  static var received: Int32? { last.withLock { $0 } }

  private static let signals: [Int32] = [
    SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
  ]

  private let handler = Mutex<(@Sendable (Int32) -> Void)?>(nil)

  /// Runs `body` in a task that SIGINT, SIGTERM and SIGHUP cancel.
  static func run<Result: Sendable>(_ body: @escaping @Sendable (Interrupts) async throws -> Result) async throws
    -> Result
  {
    let interrupts = Interrupts()
    let task = Task { try await body(interrupts) }
    interrupts.handler.withLock { handler in
      handler = { signal in
        guard [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(signal) else { return }
        last.withLock { $0 = signal }
        task.cancel()
      }
    }
    let loop = try interrupts.listen()
    defer { loop.stop() }
    do {
      return try await task.value
    } catch {
      // Whatever broke off because of the signal, the signal is the reason.
      if received != nil, task.isCancelled { throw CancellationError() }
      throw error
    }
  }

  /// From now on signals go to `handler`.
  func redirect(to handler: @escaping @Sendable (Int32) -> Void) {
    self.handler.withLock { $0 = handler }
  }

  /// Runs `body` with the signals to this process; none of them cancels anything.
  static func follow(_ body: (AsyncStream<Int32>) async throws -> Void) async throws {
    let (signals, continuation) = AsyncStream<Int32>.makeStream(bufferingPolicy: .bufferingNewest(64))
    let interrupts = Interrupts()
    interrupts.redirect { continuation.yield($0) }
    let loop = try interrupts.listen()
    defer { loop.stop() }
    try await body(signals)
  }

  private func listen() throws -> EventLoop {
    let loop = try EventLoop(name: "ignite-signals")
    let descriptor = FileDescriptor(ignite_signal_descriptor(Self.signals, Int32(Self.signals.count)))
    loop.submit {
      try? loop.watch(descriptor.number, for: .read) { _ in
        var info = signalfd_siginfo()
        while read(descriptor.number, &info, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size
        {
          let number = Int32(info.ssi_signo)
          self.handler.withLock { $0 }?(number)
        }
      }
    }
    return loop
  }

  /// Blocks the signals in this thread and all that it starts. Called first of all, while it is the only one: a signal
  /// goes to any thread that does not block it.
  static func block() { _ = ignite_block_signals(signals, Int32(signals.count)) }
}

extension Interrupts {
  private static let careful: Set<String> = [
    "run", "create", "start", "exec", "attach", "image", "kernel", "template", "rm", "stop", "restart", "system",
    "login",
    "gc", "update", "volume", "plan", "apply", "up", "down", "delete", "edit", "gitops",
  ]

  /// Whether the command runs its work in `run`.
  static func areWanted(by arguments: [String]) -> Bool {
    let words = Array(arguments.dropFirst())
    return words.first { !$0.hasPrefix("-") }.map(careful.contains) ?? false || DiffCommand.comparesManifests(words)
  }
}
