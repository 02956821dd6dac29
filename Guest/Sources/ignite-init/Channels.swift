import CGuest
import IgniteWire

/// Standard input of a process: bytes from the host that its pipe or terminal has not taken yet.
final class InputChannel {
  /// Credit is given in pieces of this size, so that it costs few frames.
  private static let grant = 65_536
  /// A new session starts with full credit while bytes of the old one may still be here.
  private static let limit = 2 * Wire.initialCredit
  private static let endOfTransmission: UInt8 = 4

  /// -1 where nothing is connected, or no longer.
  private(set) var descriptor: Int32
  /// The descriptor is the terminal's, which the output channel closes.
  private let terminal: Bool
  private var writable = true
  private var pending = Bytes()
  private var start = 0
  private var ending = false
  private var consumed = 0

  init(descriptor: Int32, terminal: Bool) {
    self.descriptor = descriptor
    self.terminal = terminal
  }

  /// Takes bytes of the host; false when the host has sent beyond its credit.
  func append(_ bytes: Bytes) -> Bool {
    guard bytes.count <= Self.limit - (pending.count - start) else { return false }
    guard descriptor >= 0, !ending else {
      consumed += bytes.count
      return true
    }
    if start == pending.count {
      pending = bytes
      start = 0
    } else {
      pending.append(contentsOf: bytes)
    }
    flush()
    return true
  }

  /// No more will come; the process sees the end when it has read what is here.
  func end() {
    guard descriptor >= 0, !ending else { return }
    ending = true
    if terminal { pending.append(Self.endOfTransmission) }
    flush()
  }

  func becameWritable() {
    writable = true
    flush()
  }

  /// The bytes that the host may send more, when it is worth a frame.
  func takeGrant() -> Int {
    guard consumed >= Self.grant else { return 0 }
    defer { consumed = 0 }
    return consumed
  }

  /// For a new session, which counts anew.
  func resetCredit() { consumed = 0 }

  func shut() {
    if descriptor >= 0, !terminal { close(descriptor) }
    descriptor = -1
    consumed += pending.count - start
    pending = []
    start = 0
  }

  private func flush() {
    while descriptor >= 0, writable, start < pending.count {
      let left = pending.count - start
      let count = pending.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + start }, left) }
      if count > 0 {
        start += count
        consumed += count
      } else if count < 0, guest_errno() == EINTR {
        continue
      } else if count == 0 || guest_errno() == EAGAIN {
        writable = false
      } else {
        // Nobody reads it any more: what comes is taken and dropped, as by docker.
        shut()
      }
    }
    if start == pending.count {
      pending.removeAll(keepingCapacity: true)
      start = 0
      if ending, !terminal { shut() }
    }
  }
}

/// Standard output or errors of a process.
final class OutputChannel {
  let channel: Channel
  /// Bytes that the host takes more.
  private var credit = Wire.initialCredit
  private var descriptor: Int32
  private var readable = true
  /// The host has lost interest.
  var discarding = false
  /// Nothing will come any more.
  private(set) var ended = false
  /// The process's end was long enough ago: what is not here now is not waited for.
  var expired = false

  init(descriptor: Int32, channel: Channel) {
    self.descriptor = descriptor
    self.channel = channel
  }

  func becameReadable() { readable = true }

  func add(credit bytes: UInt32) { credit = min(credit + Int(bytes), 1 << 30) }

  /// For a new session, which counts anew.
  func resetCredit() {
    credit = Wire.initialCredit
    discarding = false
  }

  /// Reads once, and gives what there is to `body`; false when there is nothing to do.
  func pump(_ body: (Bytes) -> Void) -> Bool {
    guard !ended else { return false }
    guard readable else {
      if expired { shut() }
      return expired
    }
    let wanted = discarding ? Wire.maximumPayload : min(Wire.maximumPayload, credit)
    guard wanted > 0 else { return false }
    var failed = false
    var error: Int32 = 0
    let bytes = Bytes(unsafeUninitializedCapacity: wanted) { buffer, count in
      let got = read(descriptor, buffer.baseAddress, wanted)
      failed = got < 0
      if failed { error = guest_errno() }
      count = max(0, got)
    }
    if !bytes.isEmpty {
      if !discarding {
        credit -= bytes.count
        body(bytes)
      }
    } else if failed, error == EAGAIN {
      readable = false
    } else if failed, error == EINTR {
      return true
    } else {
      // Zero is a pipe's end, EIO that of a terminal.
      shut()
    }
    return true
  }

  func shut() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    ended = true
  }
}
