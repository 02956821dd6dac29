internal import Glibc
internal import IgniteSystem
public import IgniteWire

/// The caller's files for a process's streams; they stay the caller's.
public struct ProcessStreams: Sendable {
  /// nil gives the process no standard input.
  public var input: Int32?
  public var output: Int32
  public var errors: Int32
  /// What is typed to leave the process; nil passes all on.
  public var detachKeys: DetachKeys?

  public init(input: Int32?, output: Int32, errors: Int32) {
    self.input = input
    self.output = output
    self.errors = errors
  }
}

/// One process's streams between the caller's files and the wire, with credit both ways.
///
/// The files may be anything, a terminal or a slow pipe: each is read or written by a thread of its own, and they are
/// left blocking, for they are shared with whoever started us.
// @unchecked: used on the loop's thread alone, where its client's frames and its pumps' results arrive.
public final class ProcessSession: @unchecked Sendable {
  private let stream: UInt32
  private let connection: FrameConnection
  private let loop: EventLoop
  private let input: InputPump?
  private let output: OutputPump
  private let errors: OutputPump
  private let isMain: Bool
  private var inputCredit = Wire.initialCredit
  private var inputHeld: [UInt8] = []
  private var inputReading = false
  private var detachKeys: DetachKeys?
  private var started = false
  private var exit: IgniteWire.ExitStatus?
  private var failure: (any Error)?
  private var done = false
  private var waiter: CheckedContinuation<Int32, any Error>?

  init(stream: UInt32, connection: FrameConnection, loop: EventLoop, streams: ProcessStreams, isMain: Bool) {
    self.stream = stream
    self.connection = connection
    self.loop = loop
    self.isMain = isMain
    detachKeys = streams.detachKeys
    input = streams.input.map { InputPump(descriptor: $0) }
    output = OutputPump(descriptor: streams.output, name: "ignite-stdout")
    errors = OutputPump(descriptor: streams.errors, name: "ignite-stderr")
  }

  /// Waits for the process's end and for its output to be written; the status as a shell shows it.
  /// - Throws: SupervisorError with 125 to 127 where the process could not be started or was lost.
  public func ended() async throws -> Int32 {
    try await withCheckedThrowingContinuation { continuation in
      loop.submit {
        self.waiter = continuation
        self.finishIfDone()
      }
    }
  }

  /// Sends a signal to the process.
  public func signal(_ number: Int32) {
    loop.submit { self.connection.send(.signal(stream: self.stream, number: number)) }
  }

  /// Tells the process's terminal its new size.
  public func resize(_ size: TerminalSize) {
    loop.submit { self.connection.send(.resize(stream: self.stream, size: size)) }
  }

  /// Takes leave of the process, whose streams then are nobody's; `ended` throws a CancellationError.
  public func leave() {
    loop.submit {
      self.connection.send(Frame(.close, stream: self.stream))
      self.fail(CancellationError())
    }
  }

  // MARK: On the loop's thread

  func receive(_ frame: Frame) {
    switch frame.type {
    case .response:
      guard let response = try? Response(decoding: frame.payload) else {
        return fail(SupervisorError("the supervisor's answer makes no sense"))
      }
      if response.code != 0 {
        return fail(SupervisorError(response.text, exitCode: Int32(clamping: min(response.code, 127))))
      }
      started = true
      readInput()
    case .data:
      Timeline.mark("first output")
      let pump = frame.channel == .standardError ? errors : output
      let channel = frame.channel
      let count = frame.payload.count
      pump.write(frame.payload) { [weak self] in
        guard let self else { return }
        loop.submit { self.connection.send(.credit(stream: self.stream, channel: channel, bytes: count)) }
      }
    case .credit:
      inputCredit = min(inputCredit + Int(frame.number ?? 0), Wire.initialCredit)
      sendHeldInput()
    case .exit:
      Timeline.mark("exit")
      exit = (try? IgniteWire.ExitStatus(decoding: frame.payload)) ?? IgniteWire.ExitStatus(code: 125)
      if !isMain { connection.send(Frame(.acknowledge, stream: stream)) }
      drainThenFinish()
    default: break
    }
  }

  func connectionClosed(_ reason: String?) {
    if exit == nil && failure == nil {
      fail(SupervisorGone(reason: reason))
    }
  }

  private func fail(_ error: any Error) {
    guard failure == nil else { return }
    failure = error
    drainThenFinish()
  }

  private func drainThenFinish() {
    output.afterAll { [weak self] in
      guard let self else { return }
      errors.afterAll {
        self.loop.submit {
          self.done = true
          self.finishIfDone()
        }
      }
    }
  }

  private func finishIfDone() {
    guard done, let waiter else { return }
    self.waiter = nil
    if let exit {
      waiter.resume(returning: exit.shellStatus)
    } else {
      waiter.resume(throwing: failure ?? SupervisorGone(reason: nil))
    }
  }

  // MARK: Input

  private func readInput() {
    guard let input, started, !inputReading, inputHeld.isEmpty, exit == nil else { return }
    inputReading = true
    input.read { [weak self] bytes in
      guard let self else { return }
      loop.submit {
        self.inputReading = false
        if bytes.isEmpty {
          self.connection.send(Frame(.end, stream: self.stream, channel: .standardInput))
        } else {
          self.take(bytes)
        }
      }
    }
  }

  private func take(_ bytes: [UInt8]) {
    let (passed, leaves) = detachKeys?.filter(bytes) ?? (bytes, false)
    inputHeld = passed
    sendHeldInput()
    if leaves {
      connection.send(Frame(.close, stream: stream))
      return fail(Left())
    }
    if passed.isEmpty { readInput() }
  }

  /// Thrown by `ended` for who typed the detach keys.
  public struct Left: Error {}

  private func sendHeldInput() {
    guard !inputHeld.isEmpty else { return }
    let count = min(inputHeld.count, inputCredit, Wire.maximumPayload)
    guard count > 0 else { return }
    inputCredit -= count
    connection.send(
      Frame(.data, stream: stream, channel: .standardInput, payload: Array(inputHeld.prefix(count))))
    inputHeld.removeFirst(count)
    if inputHeld.isEmpty { readInput() } else { sendHeldInput() }
  }
}
