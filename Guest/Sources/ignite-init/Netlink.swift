import CGuest

/// One request of rtnetlink(7), built field by field, and its answer awaited.
struct NetlinkMessage {
  /// Message types of <linux/rtnetlink.h>.
  enum Kind {
    static let setLink: UInt16 = 19
    static let getLink: UInt16 = 18
    static let newAddress: UInt16 = 20
    static let deleteAddress: UInt16 = 21
    static let newRoute: UInt16 = 24
  }
  enum Flag {
    static let request: UInt16 = 1
    static let acknowledge: UInt16 = 4
    static let dump: UInt16 = 0x300
    static let create: UInt16 = 0x400
    static let replace: UInt16 = 0x100
  }

  var bytes: Bytes

  init(_ kind: UInt16, flags: UInt16, body: Bytes) {
    bytes = Bytes(repeating: 0, count: 4)
    put16(kind)
    put16(flags | Flag.request)
    put32(1)
    put32(0)
    bytes.append(contentsOf: body)
  }

  private mutating func put16(_ value: UInt16) {
    bytes.append(UInt8(truncatingIfNeeded: value))
    bytes.append(UInt8(truncatingIfNeeded: value >> 8))
  }

  private mutating func put32(_ value: UInt32) {
    put16(UInt16(truncatingIfNeeded: value))
    put16(UInt16(truncatingIfNeeded: value >> 16))
  }

  /// An attribute (struct rtattr), padded to four bytes.
  mutating func put(_ attribute: UInt16, _ value: Bytes) {
    put16(UInt16(truncatingIfNeeded: value.count + 4))
    put16(attribute)
    bytes.append(contentsOf: value)
    while bytes.count % 4 != 0 { bytes.append(0) }
  }

  mutating func put(_ attribute: UInt16, number: UInt32) { put(attribute, littleEndian(number)) }

  /// The bytes to send, with their length in front.
  var finished: Bytes {
    var bytes = bytes
    for (index, byte) in littleEndian(UInt32(truncatingIfNeeded: bytes.count)).enumerated() { bytes[index] = byte }
    return bytes
  }
}

func littleEndian(_ value: UInt32) -> Bytes {
  [
    UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value >> 16),
    UInt8(truncatingIfNeeded: value >> 24),
  ]
}

/// A socket to the kernel's network configuration.
struct NetlinkSocket: ~Copyable {
  private let descriptor: Int32

  init() throws(GuestError) {
    descriptor = guest_netlink_open()
    if descriptor < 0 { throw GuestError("open rtnetlink", errno: guest_errno()) }
  }

  deinit { close(descriptor) }

  /// Sends a request and awaits its acknowledgement.
  func request(_ message: NetlinkMessage, _ what: String) throws(GuestError) {
    try send(message, what)
    let answer = receive()
    // nlmsghdr, then the negated errno of struct nlmsgerr.
    guard answer.count >= 20, read16(answer, 4) == 2 else { throw GuestError(what + ": no answer from the kernel") }
    let error = Int32(bitPattern: read32(answer, 16))
    if error != 0 { throw GuestError(what, errno: 0 &- error) }
  }

  /// Sends a dump request and gives each message of the answer to `body`.
  func dump(_ message: NetlinkMessage, _ what: String, _ body: (Bytes.SubSequence) -> Void) throws(GuestError) {
    try send(message, what)
    while true {
      let answer = receive()
      if answer.isEmpty { return }
      var offset = 0
      while answer.count - offset >= 16 {
        let length = Int(read32(answer, offset))
        // NLMSG_DONE is 3, NLMSG_ERROR 2.
        if read16(answer, offset + 4) <= 3 { return }
        guard length >= 16, length <= answer.count - offset else { return }
        body(answer[offset..<(offset + length)])
        offset += (length + 3) & ~3
      }
    }
  }

  private func send(_ message: NetlinkMessage, _ what: String) throws(GuestError) {
    let bytes = message.finished
    let sent = bytes.withUnsafeBufferPointer { guest_netlink_send(descriptor, $0.baseAddress, $0.count) }
    if sent != bytes.count { throw GuestError(what, errno: guest_errno()) }
  }

  private func receive() -> Bytes {
    Bytes(unsafeUninitializedCapacity: 32_768) { buffer, count in
      count = max(0, guest_netlink_receive(descriptor, buffer.baseAddress, 32_768))
    }
  }
}

func read16(_ bytes: Bytes, _ offset: Int) -> UInt16 { UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8 }

func read32(_ bytes: Bytes, _ offset: Int) -> UInt32 {
  UInt32(read16(bytes, offset)) | UInt32(read16(bytes, offset + 2)) << 16
}
