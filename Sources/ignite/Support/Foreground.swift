internal import Glibc
internal import IgniteEngine
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire
internal import Synchronization

/// A process in the foreground: this command's files are its files, its signals its signals.
enum Foreground {
  /// Refuses a terminal for a process whose standard input is none, as docker does.
  static func checkTerminal(tty: Bool, interactive: Bool) throws {
    if tty && interactive && !Terminal.isTerminal(0) {
      throw EngineError(
        .invalidArgument, "standard input is no terminal, and -t wants one",
        advice: "leave out -t to pipe data through -i")
    }
  }

  /// - Parameter detachKeys: for who sits at a terminal.
  static func streams(interactive: Bool, detachKeys: DetachKeys? = nil) -> ProcessStreams {
    var streams = ProcessStreams(input: interactive ? 0 : nil, output: 1, errors: 2)
    streams.detachKeys = detachKeys
    return streams
  }

  /// From now on signals go to the session's process; one that does not run yet is given up by its supervisor.
  static func redirect(_ interrupts: Interrupts, to session: ProcessSession, tty: Bool) {
    interrupts.redirect { signal in
      switch signal {
      case SIGWINCH: if tty { session.resize(Terminal.size()) }
      case SIGCONT: break
      default: session.signal(signal)
      }
    }
  }

  /// Joins a VM that is coming up, and stays until it has ended; the status that the command returns.
  ///
  /// A machine is not ended by a signal to this command: it goes on without, as it does when its console's input ends.
  static func join(
    _ started: StartedVM, _ engine: Engine, _ interrupts: Interrupts, tty: Bool, interactive: Bool,
    failed: (any Error) throws -> Int32 = { throw $0 }
  ) async throws -> Ending {
    let loop = try EventLoop(name: "ignite-client")
    defer { loop.stop() }
    let client = try await engine.client(of: started.vm, loop: loop)
    let session = try await client.attach(
      streams(interactive: interactive, detachKeys: tty && interactive ? .usual : nil))
    let left = Left()
    if try engine.isMachine(started.vm) {
      interrupts.redirect { signal in
        guard [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(signal) else { return }
        left.signal.withLock { $0 = signal }
        session.leave()
      }
    } else {
      redirect(interrupts, to: session, tty: tty)
    }
    try await started.running()
    let status: Int32
    do {
      status = try await wait(for: session, tty: tty, interactive: interactive)
    } catch is ProcessSession.Left {
      return Ending(status: 0, goesOn: true)
    } catch {
      if let signal = left.signal.withLock({ $0 }) { return Ending(status: 128 + signal, goesOn: true) }
      return Ending(status: try failed(error), goesOn: true)
    }
    await client.closed()
    return Ending(status: status, goesOn: false)
  }

  /// How a command's stay ended, and whether the VM may go on without it.
  struct Ending {
    let status: Int32
    let goesOn: Bool
  }

  /// The signal at which this command left a machine.
  private final class Left: Sendable {
    let signal = Mutex<Int32?>(nil)
  }

  /// Waits for the session's end.
  static func wait(for session: ProcessSession, tty: Bool, interactive: Bool) async throws -> Int32 {
    let restore = tty && interactive ? Terminal.makeRaw() : nil
    defer { restore?() }
    return try await session.ended()
  }
}
