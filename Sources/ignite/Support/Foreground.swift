internal import Glibc
internal import IgniteEngine
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

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

  static func streams(interactive: Bool) -> ProcessStreams {
    ProcessStreams(input: interactive ? 0 : nil, output: 1, errors: 2)
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

  /// Waits for the session's end.
  static func wait(for session: ProcessSession, tty: Bool, interactive: Bool) async throws -> Int32 {
    let restore = tty && interactive ? Terminal.makeRaw() : nil
    defer { restore?() }
    return try await session.ended()
  }
}
