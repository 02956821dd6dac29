/// What a request asks for; the first field of every request's message.
public struct RequestKind: RawRepresentable, Equatable, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  // Asked of the guest.
  /// Make the root, the names and the network: `Configuration`.
  public static let configure = RequestKind(rawValue: 1)
  /// Start a process: `ProcessRequest`.
  public static let start = RequestKind(rawValue: 2)
  /// Sync, unmount and power off.
  public static let shutDown = RequestKind(rawValue: 3)
  /// Pack files: `CopyOutRequest`. Answered and ended as a process.
  public static let copyOut = RequestKind(rawValue: 4)
  /// Unpack files: `CopyInRequest`. Answered and ended as a process.
  public static let copyIn = RequestKind(rawValue: 5)
  /// List the processes, on the stream's output; no fields. Answered and ended as a process.
  public static let processes = RequestKind(rawValue: 6)
  /// Set the wall clock: `ClockRequest`. A guest that does not know it answers with 125.
  public static let setClock = RequestKind(rawValue: 7)

  /// Do what needs no configuration, and wait: the machine is about to be frozen as a template. `Configuration`,
  /// of which the modules' device, the address and the gateway tell what clones will have.
  public static let prepare = RequestKind(rawValue: 8)

  /// Tell what the kernel counts, on the stream's output; no fields. Answered and ended as a process.
  public static let statistics = RequestKind(rawValue: 9)

  /// Tell what differs from the image, on the stream's output; no fields. Answered and ended as a process.
  public static let changes = RequestKind(rawValue: 10)

  // Asked of a supervisor, which passes those for the guest's processes and files on.
  /// Join the main process's streams: `AttachRequest`.
  public static let attach = RequestKind(rawValue: 32)
  /// End the VM: `StopRequest`; answered when it has ended.
  public static let stop = RequestKind(rawValue: 33)
  /// Send a signal to the main process: `StopRequest.signal`.
  public static let kill = RequestKind(rawValue: 34)
  /// Answered at once with the phase.
  public static let status = RequestKind(rawValue: 35)
  /// Halt the machine where it is; no fields. Answered when it stands still and the journal says so.
  public static let pause = RequestKind(rawValue: 36)
  /// Let a halted machine go on; no fields. Answered when its wall clock is right: the text is a warning where it is not.
  public static let unpause = RequestKind(rawValue: 37)
  /// Change what a running VM's supervisor goes by: `UpdateRequest`.
  public static let update = RequestKind(rawValue: 38)
}

/// Tags that several messages share.
enum Tag {
  static let kind: UInt16 = 1
  static let code: UInt16 = 2
  static let text: UInt16 = 3
  static let number: UInt16 = 4
}

/// A request's kind, read without the rest of it.
public func requestKind(of payload: [UInt8]) throws(MessageError) -> RequestKind {
  var reader = MessageReader(payload)
  guard let field = try reader.next(), field.tag == Tag.kind else { throw .missing(tag: Tag.kind) }
  return RequestKind(rawValue: try field.number())
}

/// The answer to a request: success, or a failure with the exit status that it means and one line of text.
public struct Response: Sendable {
  /// 0 for success; 125, 126 or 127 as docker has them.
  public var code: UInt64
  /// Why it failed, in one line; for `status` the phase.
  public var text: String
  /// What the request gave: a process id for `start`.
  public var value: UInt64

  public init(code: UInt64 = 0, text: String = "", value: UInt64 = 0) {
    self.code = code
    self.text = text
    self.value = value
  }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.code, number: code)
    writer.put(Tag.text, string: text)
    writer.put(Tag.number, number: value)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init()
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case Tag.code: code = try field.number()
      case Tag.text: text = field.string ?? ""
      case Tag.number: value = try field.number()
      default: break
      }
    }
  }
}

/// How a process ended, as wait(2) tells it.
public struct ExitStatus: Equatable, Sendable {
  /// The status given to exit(2), 0 to 255; 0 where a signal ended it.
  public var code: UInt64
  /// The signal that ended it, or 0.
  public var signal: UInt64

  public init(code: UInt64 = 0, signal: UInt64 = 0) {
    self.code = code
    self.signal = signal
  }

  /// What a shell would show: the code, or 128 plus the signal.
  public var shellStatus: Int32 { signal == 0 ? Int32(truncatingIfNeeded: code & 255) : 128 + Int32(signal & 127) }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.code, number: code)
    writer.put(Tag.number, number: signal)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init()
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case Tag.code: code = try field.number()
      case Tag.number: signal = try field.number()
      default: break
      }
    }
  }
}

/// Tells the guest what time it is.
public struct ClockRequest: Equatable, Sendable {
  /// Nanoseconds since 1970.
  public var wallClock: UInt64

  public init(wallClock: UInt64) { self.wallClock = wallClock }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.setClock.rawValue)
    writer.put(Tag.number, number: wallClock)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    var time: UInt64?
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      if field.tag == Tag.number { time = try field.number() }
    }
    guard let time else { throw .missing(tag: Tag.number) }
    wallClock = time
  }
}

/// A request that has no fields but its kind.
public func emptyRequest(_ kind: RequestKind) -> [UInt8] {
  var writer = MessageWriter()
  writer.put(Tag.kind, number: kind.rawValue)
  return writer.bytes
}

// Text that is compared brings Unicode's tables along, which the guest's init does without.
#if !hasFeature(Embedded)
  extension Response: Equatable {}
#endif
