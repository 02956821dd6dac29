/// Takes a byte stream apart into preambles and frames, and finds its way back after bytes that make no sense.
///
/// At most one frame (65,560 bytes) plus what was appended last is held. A frame is delivered only when its trailer
/// has been seen, so half a frame of a connection that broke never reaches a stream: when its missing rest is taken
/// from the next connection's bytes, the trailer is wrong, and the decoder searches those bytes again for a preamble.
public struct FrameDecoder: Sendable {
  public enum Event: Equatable, Sendable {
    /// A connection opened; frames that follow belong to its session.
    case preamble(Preamble)
    case frame(Frame)
    /// Bytes were dropped up to the next preamble; told once a loss.
    case desynchronized
  }

  private var buffer: [UInt8] = []
  private var start = 0
  private var session: UInt32?
  private var hunting = true
  private var lossTold = true

  public init() {}

  /// Forgets half a frame and the session; for a connection that is known to have broken.
  public mutating func reset() {
    buffer.removeAll(keepingCapacity: true)
    start = 0
    session = nil
    hunting = true
    lossTold = true
  }

  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    compact()
    // As elements: raw bytes are appended one by one.
    buffer.append(contentsOf: bytes.assumingMemoryBound(to: UInt8.self))
  }

  public mutating func append(_ bytes: [UInt8]) {
    compact()
    buffer.append(contentsOf: bytes)
  }

  /// The next event, or nil until more bytes have been appended.
  public mutating func next() -> Event? {
    while true {
      if hunting {
        guard let preamble = hunt() else { return nil }
        return .preamble(preamble)
      }
      let available = buffer.count - start
      guard available > 0 else { return nil }
      if buffer[start] == Wire.preambleMagic[0] {
        switch preambleAtStart() {
        case .complete(let preamble): return .preamble(preamble)
        case .partial: return nil
        case .different: if let loss = lose() { return loss } else { continue }
        }
      }
      guard available >= Wire.headerSize else {
        if buffer[start] != Wire.frameMagic.0 || (available > 1 && buffer[start + 1] != Wire.frameMagic.1) {
          if let loss = lose() { return loss } else { continue }
        }
        return nil
      }
      let length: UInt32 = buffer.littleEndian(at: start + 12)
      let frameSession: UInt32 = buffer.littleEndian(at: start + 4)
      guard buffer[start] == Wire.frameMagic.0, buffer[start + 1] == Wire.frameMagic.1,
        length <= UInt32(Wire.maximumPayload), frameSession == session
      else {
        if let loss = lose() { return loss } else { continue }
      }
      let size = Wire.headerSize + Int(length) + Wire.trailerSize
      guard available >= size else { return nil }
      let stream: UInt32 = buffer.littleEndian(at: start + 8)
      let trailer: UInt32 = buffer.littleEndian(at: start + size - Wire.trailerSize)
      guard trailer == Wire.trailer(session: frameSession, stream: stream, length: length) else {
        if let loss = lose() { return loss } else { continue }
      }
      let body = start + Wire.headerSize
      let frame = Frame(
        FrameType(rawValue: buffer[start + 2]), stream: stream, channel: Channel(rawValue: buffer[start + 3]),
        payload: Array(buffer[body..<(body + Int(length))]))
      start += size
      return .frame(frame)
    }
  }

  /// Steps over one byte and searches for a preamble from there.
  private mutating func lose() -> Event? {
    start += 1
    hunting = true
    if lossTold { return nil }
    lossTold = true
    return .desynchronized
  }

  private enum Match {
    case complete(Preamble)
    case partial
    case different
  }

  private mutating func preambleAtStart() -> Match {
    let available = buffer.count - start
    let compared = min(available, Wire.preambleMagic.count)
    for index in 0..<compared where buffer[start + index] != Wire.preambleMagic[index] { return .different }
    guard available >= Wire.preambleSize else { return .partial }
    let preamble = Preamble(
      version: buffer.littleEndian(at: start + 16), session: buffer.littleEndian(at: start + 20))
    start += Wire.preambleSize
    session = preamble.session
    hunting = false
    lossTold = false
    return .complete(preamble)
  }

  private mutating func hunt() -> Preamble? {
    while start < buffer.count {
      if buffer[start] == Wire.preambleMagic[0] {
        switch preambleAtStart() {
        case .complete(let preamble): return preamble
        case .partial: return nil
        case .different: break
        }
      }
      start += 1
    }
    return nil
  }

  private mutating func compact() {
    guard start > 0 else { return }
    buffer.removeFirst(start)
    start = 0
  }
}
