// The wire protocol between host and guest, and between a client and a supervisor. docs/wire.md is its document.
//
// This module is compiled twice: for the host, and as Embedded Swift for the guest. So it has no Foundation, no
// existentials and no Codable, and every length is checked before anything is allocated for it.

/// What the frame is about; frames of an unknown type are passed over, so that an older peer keeps working.
public struct FrameType: RawRepresentable, Equatable, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Opens a stream; the payload is a message that starts with its `RequestKind`. Client to server only.
  public static let request = FrameType(rawValue: 1)
  /// Answers a request on its stream; the payload is a `Response`.
  public static let response = FrameType(rawValue: 2)
  /// Bytes of a channel; uses up credit.
  public static let data = FrameType(rawValue: 3)
  /// The channel has ended; no payload.
  public static let end = FrameType(rawValue: 4)
  /// The receiver can take more of a channel; the payload is a UInt32 of bytes.
  public static let credit = FrameType(rawValue: 5)
  /// A signal for the stream's process; the payload is a UInt32.
  public static let signal = FrameType(rawValue: 6)
  /// A new size of the stream's terminal; the payload is UInt16 columns, UInt16 rows.
  public static let resize = FrameType(rawValue: 7)
  /// The stream's process has ended; the payload is an `ExitStatus`. Sent until acknowledged.
  public static let exit = FrameType(rawValue: 8)
  /// The end has been noted; the stream is closed and its number never used again in this session.
  public static let acknowledge = FrameType(rawValue: 9)
  /// The client has lost interest in the stream: its process gets SIGHUP and its output is dropped.
  public static let close = FrameType(rawValue: 10)
  /// Something the server tells unasked, on stream 0; the payload is a line of text for the console's log.
  public static let event = FrameType(rawValue: 11)
}

/// The direction and kind of bytes within a stream, kept in the frame's second byte.
public struct Channel: RawRepresentable, Equatable, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let standardInput = Channel(rawValue: 0)
  public static let standardOutput = Channel(rawValue: 1)
  public static let standardError = Channel(rawValue: 2)
}

/// One frame: 20 bytes of header, the payload, 4 bytes of trailer; all numbers are little-endian.
public struct Frame: Equatable, Sendable {
  public var type: FrameType
  public var channel: Channel
  public var stream: UInt32
  public var payload: [UInt8]

  public init(
    _ type: FrameType, stream: UInt32, channel: Channel = .standardInput, payload: [UInt8] = []
  ) {
    self.type = type
    self.channel = channel
    self.stream = stream
    self.payload = payload
  }
}

/// The numbers that both ends agree on.
public enum Wire {
  /// The protocol's version; peers speak the lower of theirs.
  public static let version: UInt32 = 1
  /// Bytes of payload in a frame, at most.
  public static let maximumPayload = 65_536
  /// Bytes that a channel may carry before the receiver grants more.
  public static let initialCredit = 262_144
  static let frameMagic: (UInt8, UInt8) = (0xA7, 0x1F)
  static let headerSize = 20
  static let trailerSize = 4
  /// Sixteen bytes that open a connection; the first is not that of a frame.
  static let preambleMagic: [UInt8] = [
    0x00, 0x49, 0x67, 0x6E, 0x69, 0x74, 0x65, 0xF1, 0x0D, 0x0A, 0x1A, 0x8E, 0x5C, 0xD2, 0x33, 0xB9,
  ]
  static let preambleSize = 24

  static func trailer(session: UInt32, stream: UInt32, length: UInt32) -> UInt32 {
    ~(session ^ (stream &* 0x9E37_79B1) ^ (length << 8))
  }
}

/// What opens a connection: the client sends it, the server answers with its own version and the same session.
public struct Preamble: Equatable, Sendable {
  public var version: UInt32
  /// A random number that the client makes for the connection; frames of another session are dropped.
  public var session: UInt32

  public init(version: UInt32 = Wire.version, session: UInt32) {
    self.version = version
    self.session = session
  }

  /// The 24 bytes of the wire.
  public func encoded() -> [UInt8] {
    var bytes = Wire.preambleMagic
    bytes.appendLittleEndian(version)
    bytes.appendLittleEndian(session)
    return bytes
  }
}

extension Frame {
  /// Appends the frame's bytes; a payload over `Wire.maximumPayload` is the caller's error and is cut.
  public func encode(session: UInt32, into bytes: inout [UInt8]) {
    let length = UInt32(min(payload.count, Wire.maximumPayload))
    bytes.reserveCapacity(bytes.count + Wire.headerSize + Int(length) + Wire.trailerSize)
    bytes.append(Wire.frameMagic.0)
    bytes.append(Wire.frameMagic.1)
    bytes.append(type.rawValue)
    bytes.append(channel.rawValue)
    bytes.appendLittleEndian(session)
    bytes.appendLittleEndian(stream)
    bytes.appendLittleEndian(length)
    bytes.appendLittleEndian(UInt32(0))
    bytes.append(contentsOf: payload.prefix(Int(length)))
    bytes.appendLittleEndian(Wire.trailer(session: session, stream: stream, length: length))
  }

  public func encoded(session: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    encode(session: session, into: &bytes)
    return bytes
  }

  /// A grant of `bytes` more on a channel.
  public static func credit(stream: UInt32, channel: Channel, bytes: Int) -> Frame {
    var payload: [UInt8] = []
    payload.appendLittleEndian(UInt32(clamping: bytes))
    return Frame(.credit, stream: stream, channel: channel, payload: payload)
  }

  public static func signal(stream: UInt32, number: Int32) -> Frame {
    var payload: [UInt8] = []
    payload.appendLittleEndian(UInt32(bitPattern: number))
    return Frame(.signal, stream: stream, payload: payload)
  }

  public static func resize(stream: UInt32, size: TerminalSize) -> Frame {
    var payload: [UInt8] = []
    payload.appendLittleEndian(size.columns)
    payload.appendLittleEndian(size.rows)
    return Frame(.resize, stream: stream, payload: payload)
  }

  /// The UInt32 that a credit or signal frame carries; nil where the payload is of another length.
  public var number: UInt32? {
    guard payload.count == 4 else { return nil }
    return payload.littleEndian(at: 0)
  }

  /// The size that a resize frame carries.
  public var terminalSize: TerminalSize? {
    guard payload.count == 4 else { return nil }
    return TerminalSize(columns: payload.littleEndian(at: 0), rows: payload.littleEndian(at: 2))
  }
}

/// A terminal's size in cells.
public struct TerminalSize: Equatable, Sendable {
  public var columns: UInt16
  public var rows: UInt16
  public init(columns: UInt16, rows: UInt16) {
    self.columns = columns
    self.rows = rows
  }
}

extension [UInt8] {
  mutating func appendLittleEndian<Integer: FixedWidthInteger>(_ value: Integer) {
    var rest = value
    for _ in 0..<(Integer.bitWidth / 8) {
      append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }

  /// The number at `offset`; the caller has checked that it lies within.
  func littleEndian<Integer: FixedWidthInteger>(at offset: Int) -> Integer {
    var value: Integer = 0
    for index in stride(from: Integer.bitWidth / 8 - 1, through: 0, by: -1) {
      value = (value << 8) | Integer(truncatingIfNeeded: self[offset + index])
    }
    return value
  }
}
