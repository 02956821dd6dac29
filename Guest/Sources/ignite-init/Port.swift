import CGuest
import IgniteWire

/// The virtio-serial port to the host, and the session that runs over it.
///
/// Without a host, reads give 0 and writes EAGAIN; the driver tells of a hang-up once, and again of output when a host
/// connects.
final class Port {
  /// Bytes for the host that are held before outputs of processes are read no further.
  static let outboundLimit = 262_144
  /// Bytes for the host beyond which no more requests are taken: their answers would pile up here.
  private static let answerLimit = 4 << 20
  private static let readSize = 65_536

  let descriptor: Int32
  /// The session of the host's last preamble; nil before it, and after the host has gone.
  private(set) var session: UInt32?
  var readable = true
  var writable = true

  private var decoder = FrameDecoder()
  private let buffer = UnsafeMutableRawPointer.allocate(byteCount: readSize, alignment: 16)
  private var outbound = Bytes()
  private var outboundStart = 0

  private init(descriptor: Int32) { self.descriptor = descriptor }

  /// Finds the port by its name, which the driver learns a little after it has been loaded.
  static func open() -> Port? {
    let deadline = guest_monotonic() + 10_000_000_000
    repeat {
      for name in File.names(in: "/sys/class/virtio-ports") {
        let port = text(name)
        guard let label = File.read("/sys/class/virtio-ports/" + port + "/name", limit: 64),
          label.prefix(while: { $0 > 32 }).elementsEqual("ignite.agent".utf8)
        else { continue }
        let descriptor = guest_open("/dev/" + port, O_RDWR | O_NONBLOCK, 0)
        if descriptor >= 0 { return Port(descriptor: descriptor) }
        Console.log("open /dev/" + port + ": " + errorText(guest_errno()))
      }
      guest_sleep(1_000_000)
    } while guest_monotonic() < deadline
    return nil
  }

  // MARK: - From the host

  var canReceive: Bool { readable && outbound.count - outboundStart < Self.answerLimit }

  /// Reads what is there, at most `readSize` bytes, and gives its events to `body`.
  func receive(_ body: (FrameDecoder.Event) -> Void) {
    var count = 0
    var gone = false
    while count < Self.readSize {
      // The driver gives at most a page at a time.
      let got = read(descriptor, buffer + count, Self.readSize - count)
      if got > 0 {
        count += got
      } else if got < 0, guest_errno() == EINTR {
        continue
      } else {
        readable = false
        gone = got == 0
        break
      }
    }
    if count > 0 {
      decoder.append(UnsafeRawBufferPointer(start: buffer, count: count))
      while let event = decoder.next() {
        // A host's first bytes come by an interrupt, and word of its connection by a work queue, which may be later: until
        // then the driver tells of the end of the host before it.
        if case .preamble = event { gone = false }
        body(event)
      }
    }
    if gone { hangUp() }
  }

  /// Half a frame of a host that has gone is nobody's.
  private func hangUp() {
    decoder.reset()
    session = nil
    dropOutbound()
  }

  /// Answers the host's preamble; what was for the host before it is dropped.
  func open(_ preamble: Preamble) {
    dropOutbound()
    session = preamble.session
    outbound = Preamble(version: min(preamble.version, Wire.version), session: preamble.session).encoded()
  }

  // MARK: - To the host

  /// Whether more output of processes may be read.
  var hasRoom: Bool { session != nil && outbound.count - outboundStart < Self.outboundLimit }

  /// Queues a frame; without a session it is nobody's.
  func send(_ frame: Frame) {
    guard let session else { return }
    frame.encode(session: session, into: &outbound)
  }

  /// Writes what the driver takes.
  func flush() {
    while writable, outboundStart < outbound.count {
      let left = outbound.count - outboundStart
      let count = outbound.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + outboundStart }, left) }
      if count > 0 {
        outboundStart += count
      } else if count == 0 || guest_errno() != EINTR {
        writable = false
      }
    }
    if outboundStart == outbound.count { dropOutbound() }
  }

  /// Writes all there is, however long it takes up to `nanoseconds`: for the last words.
  func drain(nanoseconds: UInt64) {
    let deadline = guest_monotonic() + nanoseconds
    while session != nil {
      writable = true
      flush()
      if outbound.isEmpty || guest_monotonic() > deadline { return }
      guest_sleep(1_000_000)
    }
  }

  private func dropOutbound() {
    outbound.removeAll(keepingCapacity: true)
    outboundStart = 0
  }
}
