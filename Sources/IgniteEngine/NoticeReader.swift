internal import Glibc
internal import IgniteSupervisor
internal import IgniteSystem

/// Reads what a supervisor tells the command that started it.
///
/// As long as it lives the supervisor knows that the command does: it holds the pipe's reading end.
actor NoticeReader {
  private let pipe: FileDescriptor
  private let executor = ThreadExecutor(name: "ignite-notices")
  private var buffer: [UInt8] = []
  private var seen: [SpawnNotice] = []
  private var ended = false

  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  init(pipe: FileDescriptor) { self.pipe = pipe }

  /// Waits for the notice.
  /// - Throws: SupervisorError for a failure that is told instead, or for an end without a word; CancellationError.
  func await(_ event: SpawnNotice.Event) throws {
    while true {
      if let failure = seen.first(where: { $0.event == .failed }) {
        throw SupervisorError(failure.message ?? "the VM could not be started", exitCode: failure.code)
      }
      if seen.contains(where: { $0.event == event }) { return }
      if ended {
        throw SupervisorError("the VM's supervisor ended without a word", advice: "look with `ignite doctor`")
      }
      try Task.checkCancellation()
      try readMore()
    }
  }

  /// The message of a notice that has come.
  func message(of event: SpawnNotice.Event) -> String? { seen.first { $0.event == event }?.message }

  /// The supervisor's way to its process, once that runs.
  var marks: [Timeline.Mark] { seen.first { $0.event == .running }?.marks ?? [] }

  private func readMore() throws {
    // Short waits, so that a cancelled task is noticed.
    var entry = pollfd(fd: pipe.number, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 50) > 0 else { return }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = read(pipe.number, &bytes, bytes.count)
    if count <= 0 {
      ended = count == 0 || errno != EINTR
      return
    }
    guard buffer.count < 1 << 16 else {
      ended = true
      return
    }
    buffer.append(contentsOf: bytes.prefix(count))
    while let end = buffer.firstIndex(of: 10) {
      if let notice = SpawnNotice(line: Array(buffer[..<end])) { seen.append(notice) }
      buffer.removeFirst(end + 1)
    }
  }
}
