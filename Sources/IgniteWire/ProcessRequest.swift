/// A process to start in the guest: the VM's own (`isMain`) or one more beside it (`exec`).
///
/// Text is bytes: arguments and variables of Linux need not be UTF-8.
public struct ProcessRequest: Sendable {
  /// The container of the guest that the process belongs to; `main` is the VM's own.
  public var container: String = "main"
  /// The VM's own process: its end is the VM's.
  public var isMain = false
  /// argv; the first is looked up in PATH of `environment` when it has no slash.
  public var arguments: [[UInt8]] = []
  /// KEY=VALUE each.
  public var environment: [[UInt8]] = []
  /// Made when it is absent, as docker does; empty means `/`.
  public var workingDirectory: [UInt8] = []
  /// `user`, `uid`, `user:group` or `uid:gid`, as OCI's config.User; empty means root.
  public var user: [UInt8] = []
  /// A pseudo-terminal for input, output and errors together.
  public var tty = false
  /// Standard input is connected; else it is /dev/null.
  public var input = false
  public var size = TerminalSize(columns: 80, rows: 24)
  /// The image's own init becomes PID 1 (machine mode); only with `isMain`.
  public var machine = false
  /// Added to `environment` only where no variable of that name is set: HOME of the user, as docker does.
  public var setHome = true
  /// Nobody reads its output, and it goes on without the client that asked for it; the supervisor's business alone.
  public var isDetached = false

  public init() {}

  private enum Field {
    static let container: UInt16 = 16
    static let isMain: UInt16 = 17
    static let argument: UInt16 = 18
    static let environment: UInt16 = 19
    static let workingDirectory: UInt16 = 20
    static let user: UInt16 = 21
    static let tty: UInt16 = 22
    static let input: UInt16 = 23
    static let columns: UInt16 = 24
    static let rows: UInt16 = 25
    static let machine: UInt16 = 26
    static let keepHome: UInt16 = 27
    static let isDetached: UInt16 = 28
  }

  /// Arguments and variables together, at most, in a list.
  public static let maximumListItems = 4096

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.start.rawValue)
    writer.put(Field.container, string: container)
    writer.put(Field.isMain, flag: isMain)
    writer.put(Field.argument, list: arguments)
    writer.put(Field.environment, list: environment)
    writer.put(Field.workingDirectory, bytes: workingDirectory)
    writer.put(Field.user, bytes: user)
    writer.put(Field.tty, flag: tty)
    writer.put(Field.input, flag: input)
    writer.put(Field.columns, number: UInt64(size.columns))
    writer.put(Field.rows, number: UInt64(size.rows))
    writer.put(Field.machine, flag: machine)
    writer.put(Field.keepHome, flag: !setHome)
    if isDetached { writer.put(Field.isDetached, flag: true) }
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init()
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case Field.container: container = field.string ?? ""
      case Field.isMain: isMain = try field.flag()
      case Field.argument:
        guard arguments.count < Self.maximumListItems else { throw .malformed(tag: field.tag) }
        arguments.append(field.bytes)
      case Field.environment:
        guard environment.count < Self.maximumListItems else { throw .malformed(tag: field.tag) }
        environment.append(field.bytes)
      case Field.workingDirectory: workingDirectory = field.bytes
      case Field.user: user = field.bytes
      case Field.tty: tty = try field.flag()
      case Field.input: input = try field.flag()
      case Field.columns: size.columns = UInt16(clamping: try field.number())
      case Field.rows: size.rows = UInt16(clamping: try field.number())
      case Field.machine: machine = try field.flag()
      case Field.keepHome: setHome = !(try field.flag())
      case Field.isDetached: isDetached = try field.flag()
      default: break
      }
    }
  }
}

/// Asks a supervisor for the main process's streams.
public struct AttachRequest: Equatable, Sendable {
  /// Frames of standard input will follow, and its end ends the process's.
  public var input = false
  public init() {}

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.attach.rawValue)
    writer.put(16, flag: input)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      if field.tag == 16 { input = try field.flag() }
    }
  }
}

/// Asks a supervisor to end the VM (`stop`), or to signal its main process (`kill`).
public struct StopRequest: Equatable, Sendable {
  /// The signal; 0 means the image's stop signal, or SIGTERM.
  public var signal: UInt64 = 0
  /// Milliseconds to wait after the signal before the VM is ended.
  public var grace: UInt64 = 10_000
  public init(signal: UInt64 = 0, grace: UInt64 = 10_000) {
    self.signal = signal
    self.grace = grace
  }

  public func encoded(_ kind: RequestKind) -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: kind.rawValue)
    writer.put(16, number: signal)
    writer.put(17, number: grace)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init()
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case 16: signal = try field.number()
      case 17: grace = try field.number()
      default: break
      }
    }
  }
}

/// Asks a supervisor to go by another restart policy.
public struct UpdateRequest: Sendable {
  /// As the VM's spec spells it.
  public var restartPolicy = ""
  public var restartLimit: UInt64 = 0
  public init(restartPolicy: String, restartLimit: UInt64) {
    self.restartPolicy = restartPolicy
    self.restartLimit = restartLimit
  }

  public func encoded() -> [UInt8] {
    var writer = MessageWriter()
    writer.put(Tag.kind, number: RequestKind.update.rawValue)
    writer.put(16, string: restartPolicy)
    writer.put(17, number: restartLimit)
    return writer.bytes
  }

  public init(decoding payload: [UInt8]) throws(MessageError) {
    self.init(restartPolicy: "", restartLimit: 0)
    var reader = MessageReader(payload)
    while let field = try reader.next() {
      switch field.tag {
      case 16: restartPolicy = field.string ?? ""
      case 17: restartLimit = try field.number()
      default: break
      }
    }
  }
}

// Text that is compared brings Unicode's tables along, which the guest's init does without.
#if !hasFeature(Embedded)
  extension ProcessRequest: Equatable {}
  extension UpdateRequest: Equatable {}
#endif
