internal import Glibc
public import IgniteSystem
public import IgniteWire

/// One end of the wire protocol over a descriptor on an event loop. docs/wire.md.
///
/// On the loop's thread alone, as `LoopStream`.
// @unchecked: used on the loop's thread alone; the stream's watches check it.
public final class FrameConnection: @unchecked Sendable {
  public enum Role: Sendable {
    /// Opens the session with this number.
    case client(session: UInt32)
    /// Answers whatever session the other end opens.
    case server
  }

  public enum Event: Sendable {
    /// Both preambles have been exchanged.
    case opened(Preamble)
    case frame(Frame)
    /// All that was sent has been written.
    case drained
    /// The other end has gone, or broke the protocol (with the reason).
    case closed(reason: String?)
  }

  private let role: Role
  private let handler: @Sendable (Event) -> Void
  private var decoder = FrameDecoder()
  private var stream: LoopStream?
  private var session: UInt32 = 0
  private var isMade = false

  /// - Throws: ECONNRESET where the other end has gone before it could be greeted; the handler is not called then.
  public init(
    loop: EventLoop, descriptor: FileDescriptor, role: Role, handler: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    self.role = role
    self.handler = handler
    stream = try LoopStream(loop: loop, descriptor: descriptor) { [weak self] in self?.handle($0) }
    if case .client(let session) = role {
      self.session = session
      stream?.send(Preamble(session: session).encoded())
      guard stream != nil else { throw SystemError("greet the other end", code: ECONNRESET) }
    }
    isMade = true
  }

  /// Bytes that the other end has not taken yet.
  public var queued: Int { stream?.queued ?? 0 }

  public func send(_ frame: Frame) { stream?.send(frame.encoded(session: session)) }

  /// Closes when everything has been written.
  public func finish() { stream?.finish() }

  /// Closes at once; the handler is not called any more.
  public func close() {
    stream?.close()
    stream = nil
  }

  private func handle(_ event: LoopStream.Event) {
    switch event {
    case .bytes(let bytes):
      decoder.append(bytes)
      while let event = decoder.next() {
        receive(event)
        if stream == nil { return }
      }
    case .drained: handler(.drained)
    case .ended(let error):
      stream = nil
      if isMade { handler(.closed(reason: error?.message)) }
    }
  }

  private func receive(_ event: FrameDecoder.Event) {
    switch (event, role) {
    case (.preamble(let preamble), .client(let session)):
      // The answer to an older connection's preamble may still be in the pipe.
      if preamble.session == session { handler(.opened(preamble)) }
    case (.preamble(let preamble), .server):
      session = preamble.session
      stream?.send(Preamble(session: session).encoded())
      handler(.opened(preamble))
    case (.frame(let frame), _): handler(.frame(frame))
    case (.desynchronized, _):
      close()
      handler(.closed(reason: "the other end broke the protocol"))
    }
  }
}
