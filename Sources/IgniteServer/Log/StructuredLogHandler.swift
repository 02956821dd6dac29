internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem
public import Logging

/// How log lines look.
public struct LogStyle: Sendable, Equatable {
  public enum Format: String, Sendable, CaseIterable {
    /// `time=… level=… msg=… key=value`.
    case logfmt
    /// An object a line.
    case json
  }

  public var format: Format
  /// The journal has the time, and takes the level from `<N>` at a line's front (sd-daemon(3)).
  public var isForJournal: Bool

  public init(format: Format, isForJournal: Bool = false) {
    self.format = format
    self.isForJournal = isForJournal
  }

  /// Whether a descriptor is the stream that JOURNAL_STREAM names, by device and inode (systemd.exec(5)).
  public static func isJournal(_ descriptor: Int32, environment: [String: String]) -> Bool {
    var status = stat()
    guard let named = environment["JOURNAL_STREAM"], fstat(descriptor, &status) == 0 else { return false }
    return named == "\(status.st_dev):\(status.st_ino)"
  }
}

/// swift-log's events as lines of a sink: one event, one line.
public struct StructuredLogHandler: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]
  private let component: String
  private let style: LogStyle
  private let sink: LogSink

  /// - Parameter component: the part of the program that logs; the field of that name.
  public init(component: String, style: LogStyle, level: Logger.Level, sink: LogSink) {
    self.component = component
    self.style = style
    self.sink = sink
    logLevel = level
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    var extra = metadata
    // Of the piece of work that the line is about.
    if let request = RequestID.current { extra["request"] = "\(request)" }
    if let more = event.metadata { extra.merge(more) { $1 } }
    if let error = event.error { extra["error"] = "\(error)" }
    sink.write(Self.line(event.level, "\(event.message)", component, extra, style: style, at: Date()))
  }

  static func line(
    _ level: Logger.Level, _ message: String, _ component: String, _ extra: Logger.Metadata, style: LogStyle,
    at time: Date
  ) -> String {
    var fields: [(String, String)] = []
    if !style.isForJournal { fields.append(("time", timeText(time))) }
    fields += [("level", level.rawValue), ("msg", message), ("component", component)]
    fields += extra.sorted { $0.key < $1.key }.map { (LogText.key($0.key), "\($0.value)") }
    let prefix = style.isForJournal ? "<\(priority(level))>" : ""
    switch style.format {
    case .logfmt: return prefix + fields.map { "\($0.0)=\(LogText.logfmt($0.1))" }.joined(separator: " ")
    case .json:
      let pairs = fields.map { "\(LogText.quoted($0.0)):\(LogText.quoted($0.1))" }
      return "\(prefix){\(pairs.joined(separator: ","))}"
    }
  }

  /// RFC 3339, to the millisecond.
  private static func timeText(_ time: Date) -> String {
    Date.ISO8601FormatStyle(includingFractionalSeconds: true).format(time)
  }

  /// Of syslog(3).
  private static func priority(_ level: Logger.Level) -> Int {
    switch level {
    case .trace, .debug: 7
    case .info: 6
    case .notice: 5
    case .warning: 4
    case .error: 3
    case .critical: 2
    }
  }
}
