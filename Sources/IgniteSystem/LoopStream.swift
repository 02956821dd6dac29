internal import Glibc

/// A non-blocking byte stream (socket, pipe, terminal) on an event loop, with a queue of what is still to be written.
// @unchecked: used on the loop's thread alone; the loop checks it at every watch.
public final class LoopStream: @unchecked Sendable {
  public enum Event {
    /// Bytes came; valid during the call only.
    case bytes(UnsafeRawBufferPointer)
    /// What was queued has been written.
    case drained
    /// The other end has closed, or failed; told once, and nothing after it.
    case ended(SystemError?)
  }

  private let loop: EventLoop
  private let descriptor: FileDescriptor
  private let handler: @Sendable (Event) -> Void
  private var outgoing: [UInt8] = []
  private var written = 0
  private var reading: Bool
  private var open = true
  private var closesWhenDrained = false

  /// Takes over the descriptor and begins to read. On the loop's thread.
  public init(
    loop: EventLoop, descriptor: FileDescriptor, reading: Bool = true, handler: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    self.loop = loop
    self.descriptor = descriptor
    self.handler = handler
    self.reading = reading
    try descriptor.setNonBlocking()
    try loop.watch(descriptor.number, for: reading ? .read : []) { [weak self] in self?.ready($0) }
  }

  /// Bytes given to `send` that the system has not taken yet.
  public var queued: Int { outgoing.count - written }

  public func send(_ bytes: [UInt8]) {
    guard open, !closesWhenDrained else { return }
    outgoing.append(contentsOf: bytes)
    flush()
  }

  /// Reads no more until it is set again: back-pressure on the other end.
  public func setReading(_ on: Bool) {
    guard reading != on, open else { return }
    reading = on
    updateInterest()
  }

  /// Closes once what is queued has been written, and tells `ended` then.
  public func finish() {
    guard open else { return }
    closesWhenDrained = true
    if queued == 0 { end(nil) }
  }

  /// Closes now; the handler is not called any more.
  public func close() {
    guard open else { return }
    open = false
    loop.cancelWatch(descriptor.number)
    descriptor.close()
    outgoing = []
    written = 0
  }

  private func ready(_ readiness: EventLoop.Readiness) {
    if readiness.contains(.write) { flush() }
    guard open else { return }
    if readiness.contains(.read) && reading {
      receive()
    } else if !readiness.isDisjoint(with: [.hangUp, .error]) {
      if reading { receive() } else { end(nil) }
    }
  }

  private func receive() {
    withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
      let count = read(descriptor.number, buffer.baseAddress, buffer.count)
      if count > 0 {
        handler(.bytes(UnsafeRawBufferPointer(rebasing: buffer[0..<count])))
      } else if count == 0 {
        end(nil)
      } else if errno != EAGAIN && errno != EINTR {
        // A pseudo-terminal whose other end is closed says EIO; that is its end of file.
        end(errno == EIO ? nil : SystemError("read"))
      }
    }
  }

  private func flush() {
    guard open else { return }
    while queued > 0 {
      let count = outgoing.withUnsafeBytes { bytes in
        write(descriptor.number, bytes.baseAddress?.advanced(by: written), bytes.count - written)
      }
      if count > 0 {
        written += count
      } else if errno == EAGAIN {
        break
      } else if errno != EINTR {
        end(errno == EPIPE || errno == ECONNRESET ? nil : SystemError("write"))
        return
      }
    }
    if queued == 0 {
      let wrote = written > 0
      outgoing.removeAll(keepingCapacity: outgoing.capacity <= 1 << 20)
      written = 0
      if closesWhenDrained { return end(nil) }
      updateInterest()
      if wrote { handler(.drained) }
    } else {
      if written > 1 << 18 {
        outgoing.removeFirst(written)
        written = 0
      }
      updateInterest()
    }
  }

  private func updateInterest() {
    var interest: EventLoop.Readiness = []
    if reading { interest.insert(.read) }
    if queued > 0 { interest.insert(.write) }
    loop.update(descriptor.number, for: interest)
  }

  private func end(_ error: SystemError?) {
    guard open else { return }
    close()
    handler(.ended(error))
  }
}
