internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// Shows the progress of an import on a terminal, a line a layer that is rewritten in place; elsewhere as plain lines.
///
/// Pass `report` as the import's callback and call `finish` when it has ended, whatever its end.
public actor ImportProgressRenderer {
  private let executor = ThreadExecutor(name: "ignite-progress")
  private let output: Int32
  private let terminal: Bool
  private let colours: Bool
  private let events: AsyncStream<ImportProgress>.Continuation
  private let stream: AsyncStream<ImportProgress>
  private var drawing: Task<Void, Never>?
  private var lines = LayerLines()
  /// Lines on the terminal that the next drawing overwrites.
  private var drawn = 0
  private var lastDrawing: ContinuousClock.Instant?

  /// Between two drawings of what only grows.
  private static let interval: Duration = .milliseconds(100)

  public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  /// - Parameter output: an open file descriptor, standard error's by default; stays the caller's.
  public init(output: Int32 = 2) {
    let kind = getenv("TERM").map { String(cString: $0) } ?? ""
    let noColour = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
    self.init(output: output, terminal: isatty(output) == 1 && kind != "dumb", colours: !noColour)
  }

  init(output: Int32, terminal: Bool, colours: Bool) {
    self.output = output
    self.terminal = terminal
    self.colours = colours
    (stream, events) = AsyncStream.makeStream()
  }

  /// Takes an event; returns at once. Writing is done on a thread of its own, so a stopped terminal stops no import.
  public nonisolated func report(_ event: ImportProgress) { events.yield(event) }

  /// Draws what is reported, until `finish`.
  public func start() {
    guard drawing == nil else { return }
    drawing = Task {
      for await event in stream { take(event) }
    }
  }

  /// Draws what is left and returns once it is written.
  public func finish() async {
    events.finish()
    await drawing?.value
    if terminal { draw() }
  }

  private func take(_ event: ImportProgress) {
    let line = lines.take(event)
    guard terminal else {
      if let line { write(line + "\n") }
      return
    }
    if case .layer = event, let lastDrawing, lastDrawing.duration(to: .now) < Self.interval { return }
    draw()
  }

  private func draw() {
    lastDrawing = .now
    var size = winsize()
    let known = ioctl(output, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    let width = known ? Int(size.ws_col) : 80
    let height = known && size.ws_row > 0 ? Int(size.ws_row) : 24
    var text = drawn > 0 ? "\u{1b}[\(drawn)A" : ""
    let shown = lines.lines(width: width - 1, height: height - 1, colours: colours)
    for line in shown { text += "\r\u{1b}[2K\(line)\n" }
    // Fewer lines than before leave old ones below.
    if drawn > shown.count { text += "\u{1b}[J" }
    drawn = shown.count
    write(text)
  }

  private func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(output, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      // Progress that nobody can read is no reason to fail.
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }
}
