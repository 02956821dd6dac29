internal import Glibc
internal import IgniteEngine
internal import IgniteSystem
internal import Synchronization

/// Reads what a person or a pipe gives, on a thread of its own that a cancelled task does not wait for.
final class InputReader: Sendable {
  private let descriptor: Int32
  private let cancelled = Atomic(false)

  /// - Parameter descriptor: stays the caller's.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  static let limit = 64 << 10

  /// Runs `body` on a thread, with this reader's reads ending when the task is cancelled.
  func run<Result: Sendable>(_ body: @escaping @Sendable (InputReader) throws -> Result) async throws -> Result {
    try await withTaskCancellationHandler {
      try await ThreadExecutor.run(name: "ignite-input") { try body(self) }
    } onCancel: {
      cancelled.store(true, ordering: .releasing)
    }
  }

  /// Blocks until a line's end, or with `all` until the input's; at most 64 KiB. The last line's end is left out.
  func text(all: Bool) throws -> String {
    var bytes: [UInt8] = []
    while all || bytes.last != UInt8(ascii: "\n"), bytes.count <= Self.limit {
      var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&wait, 1, 100)
      if cancelled.load(ordering: .acquiring) { throw CancellationError() }
      if ready == 0 || (ready < 0 && errno == EINTR) { continue }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = try retrying("read the input") { read(descriptor, &buffer, buffer.count) }
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// Asks the user something on the terminal that the command belongs to, whatever its standard streams are.
final class TerminalPrompt: Sendable {
  private let terminal: FileDescriptor

  /// The controlling terminal, or standard input's; nil where there is none.
  init?() {
    if let terminal = try? FileDescriptor.open("/dev/tty", O_RDWR | O_NOCTTY) {
      self.terminal = terminal
      return
    }
    guard Terminal.isTerminal(0) else { return nil }
    let copy = fcntl(0, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { return nil }
    terminal = FileDescriptor(copy)
  }

  /// One line of the user's.
  ///
  /// - Parameter hidden: what is typed is not shown.
  /// - Throws: CancellationError when the task is cancelled; the terminal is as it was in every case.
  func ask(_ question: String, hidden: Bool) async throws -> String {
    let number = terminal.number
    let line = try await InputReader(number).run { reader in
      var before = termios()
      guard tcgetattr(number, &before) == 0 else { throw SystemError("read the terminal's settings") }
      if hidden {
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        silent.c_lflag |= tcflag_t(ICANON | ECHONL)
        guard tcsetattr(number, TCSAFLUSH, &silent) == 0 else { throw SystemError("silence the terminal") }
      }
      defer { if hidden { tcsetattr(number, TCSAFLUSH, &before) } }
      FileHandleOutput(descriptor: number).write(question)
      return try reader.text(all: false)
    }
    guard !line.isEmpty else {
      throw EngineError(.invalidArgument, "nothing was given", advice: "type it, and end it with Return")
    }
    return line
  }
}
