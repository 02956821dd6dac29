public import FoundationEssentials
internal import Glibc
internal import IgniteSupervisor
internal import IgniteSystem

/// Something that happened to a VM or an image.
public struct Event: Codable, Equatable, Sendable {
  public var time: Date
  /// `vm` or `image`.
  public var type: String
  /// In docker's words where it has them: create, start, die, restart, pause, unpause, rename, update, destroy, import, …
  public var action: String
  /// A VM's UID, an image's name.
  public var id: String
  /// What else is known: name, image, exitCode, …
  public var attributes: [String: String]
  /// Of one that a VM's journal told before it was removed: its place there.
  var place: Int?

  init(_ type: String, _ action: String, id: String, attributes: [String: String] = [:], time: Date = Date()) {
    self.time = time
    self.type = type
    self.action = action
    self.id = id
    self.attributes = attributes
  }

  /// What a journal's entry means; nil for those that are steps on the way only.
  init?(_ entry: JournalEntry, uid: String, attributes: [String: String]) {
    var attributes = attributes
    let action: String
    switch entry.event {
    case .starting, .booted: return nil
    case .running: action = "start"
    case .paused: action = "pause"
    case .resumed: action = "unpause"
    case .adopted: action = "adopt"
    case .health: action = "health_status: \(entry.health ?? "unknown")"
    case .restarting: action = "restart"
    case .exited, .failed: action = "die"
    }
    if let code = entry.exitCode { attributes["exitCode"] = String(code) }
    if let message = entry.message { attributes["message"] = message }
    self.init("vm", action, id: uid, attributes: attributes, time: entry.time)
    request = entry.request
  }

  /// The command, or the piece of the daemon's work, that brought it about.
  var request: RequestID? {
    get { attributes["request"].flatMap(RequestID.init(rawValue:)) }
    set { attributes["request"] = newValue?.rawValue }
  }
}

/// `events` of the data directory: a line of JSON each, bounded; what VMs' journals tell is taken over when they go.
struct EventLog: Sendable {
  /// Bytes of one of its two files.
  private static let limit = 4 << 20
  let path: String

  /// Appends; what cannot be written is lost. Blocking.
  func append(_ events: [Event]) {
    var lines = Data()
    for event in events {
      guard let line = try? Self.encoder.encode(event) else { continue }
      lines += line
      lines.append(10)
    }
    guard !lines.isEmpty, let file = try? FileDescriptor.open(path, O_WRONLY | O_APPEND | O_CREAT, mode: 0o600) else {
      return
    }
    _ = lines.withUnsafeBytes { write(file.number, $0.baseAddress, $0.count) }
    if lseek(file.number, 0, SEEK_END) > Self.limit { rename(path, path + ".1") }
  }

  /// Reads on from where the last call ended, the older file first. Blocking.
  struct Reader {
    private let path: String
    private var file: FileDescriptor?
    private var pending: [UInt8] = []

    init(_ log: EventLog) { path = log.path }

    mutating func rest() -> [Event] {
      var events: [Event] = []
      if file == nil {
        if let older = open(path + ".1") { events += read(older) }
        pending = []
        file = open(path)
      }
      guard let file else { return events }
      events += read(file)
      var mine = stat()
      var named = stat()
      guard fstat(file.number, &mine) == 0, stat(path, &named) == 0, mine.st_ino != named.st_ino, let fresh = open(path)
      else { return events }
      events += read(file)
      pending = []
      self.file = fresh
      return events + read(fresh)
    }

    private func open(_ path: String) -> FileDescriptor? { try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW) }

    private mutating func read(_ file: FileDescriptor) -> [Event] {
      var events: [Event] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = Glibc.read(file.number, &buffer, buffer.count)
        guard count > 0 else { return events }
        pending += buffer.prefix(count)
        var begin = 0
        while let end = pending[begin...].firstIndex(of: 10) {
          if let event = try? EventLog.decoder.decode(Event.self, from: Data(pending[begin..<end])) {
            events.append(event)
          }
          begin = end + 1
        }
        pending.removeFirst(begin)
      }
    }
  }

  private static let encoder: JSONEncoder = {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    encoder.dateEncodingStrategy = .fractional
    return encoder
  }()

  private static let decoder: JSONDecoder = {
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .fractional
    return decoder
  }()
}
