internal import IgniteSystem

/// A client of QEMU's monitor protocol, on the event loop's thread.
actor QMPClient {
  private typealias Outcome = Result<JSONValue, HypervisorError>
  private struct Pending {
    let command: String
    let timer: UInt64
    let continuation: CheckedContinuation<Outcome, Never>
  }

  private enum State {
    case connecting
    case greeted(version: String)
    case closed(HypervisorError)
  }

  private let loop: EventLoop
  private var stream: LoopStream?
  private var reader = QMPLineReader()
  private var state = State.connecting
  private var greetingWaiter: CheckedContinuation<HypervisorError?, Never>?
  private var pending: [Int64: Pending] = [:]
  private var lastID: Int64 = 0
  private let eventHandler: @Sendable (QMPMessage?) -> Void

  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

  /// - Parameter events: told each event, and nil once at the end, on the loop's thread.
  init(loop: EventLoop, events: @escaping @Sendable (QMPMessage?) -> Void) {
    self.loop = loop
    self.eventHandler = events
  }

  /// Connects, waits for the greeting and ends the negotiation of capabilities.
  /// - Returns: QEMU's version.
  func connect(_ path: String, timeout: Duration = .seconds(90)) async throws(HypervisorError) -> String {
    do throws(SystemError) {
      let socket = try UnixSocket.connect(path)
      stream = try LoopStream(loop: loop, descriptor: socket) { [weak self] event in
        switch event {
        case .bytes(let bytes):
          let copy = Array(bytes)
          self?.assumeIsolated { $0.receive(copy) }
        case .ended: self?.assumeIsolated { $0.close(HypervisorError(.gone, "QEMU closed its control socket")) }
        case .drained: break
        }
      }
    } catch {
      let failure = HypervisorError(.gone, "QEMU's control socket: \(error.message)", cause: error)
      close(failure)
      throw failure
    }
    let timer = loop.schedule(after: timeout) { [weak self] in
      self?.assumeIsolated {
        $0.close(HypervisorError(.timeout, "QEMU's control socket did not greet within \(timeout)"))
      }
    }
    let failure = await withCheckedContinuation { continuation in
      switch state {
      case .connecting: greetingWaiter = continuation
      case .greeted: continuation.resume(returning: nil)
      case .closed(let error): continuation.resume(returning: error)
      }
    }
    loop.cancelTimer(timer)
    if let failure { throw failure }
    _ = try await execute("qmp_capabilities", timeout: timeout)
    guard case .greeted(let version) = state else { throw HypervisorError(.gone, "QEMU closed its control socket") }
    return version
  }

  /// Runs a command and returns its answer.
  func execute(
    _ command: String, arguments: JSONValue? = nil, timeout: Duration = .seconds(10)
  ) async throws(HypervisorError) -> JSONValue {
    if case .closed(let error) = state { throw error }
    guard let stream else { throw HypervisorError(.gone, "QEMU's control socket is not connected") }
    lastID += 1
    let id = lastID
    let outcome: Outcome = await withCheckedContinuation { continuation in
      let timer = loop.schedule(after: timeout) { [weak self] in
        self?.assumeIsolated {
          $0.finish(id, .failure(HypervisorError(.timeout, "QEMU did not answer \(command) within \(timeout)")))
        }
      }
      pending[id] = Pending(command: command, timer: timer, continuation: continuation)
      stream.send(QMPMessage.command(command, arguments: arguments, id: id))
    }
    return try outcome.get()
  }

  /// Closes the connection; commands under way fail.
  func close() { close(HypervisorError(.gone, "the control socket was closed")) }

  private func receive(_ bytes: [UInt8]) {
    do throws(HypervisorError) {
      for line in try reader.append(bytes) {
        try handle(QMPMessage(line: line))
      }
    } catch {
      close(error)
    }
  }

  private func handle(_ message: QMPMessage) throws(HypervisorError) {
    switch message {
    case .greeting(let version):
      guard case .connecting = state else { return }
      state = .greeted(version: version)
      greetingWaiter?.resume(returning: nil)
      greetingWaiter = nil
    case .answer(let id, let value): finish(id, .success(value))
    case .refusal(let id, let kind, let description):
      guard let id, let entry = pending[id] else {
        throw HypervisorError(.protocolError, "QEMU's monitor: \(description)")
      }
      let code: HypervisorError.Code = kind == "CommandNotFound" ? .unsupported : .protocolError
      finish(id, .failure(HypervisorError(code, "QEMU refused \(entry.command): \(description)")))
    case .event: eventHandler(message)
    }
  }

  private func finish(_ id: Int64, _ outcome: Outcome) {
    guard let entry = pending.removeValue(forKey: id) else { return }
    loop.cancelTimer(entry.timer)
    entry.continuation.resume(returning: outcome)
  }

  private func close(_ error: HypervisorError) {
    if case .closed = state { return }
    state = .closed(error)
    stream?.close()
    stream = nil
    greetingWaiter?.resume(returning: error)
    greetingWaiter = nil
    for id in pending.keys.sorted() { finish(id, .failure(error)) }
    eventHandler(nil)
  }
}
