internal import Glibc
internal import IgniteWire

/// The terminal of this process.
enum Terminal {
  static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

  /// The size in cells; 80 by 24 where it is not known.
  static func size() -> TerminalSize {
    var size = winsize()
    for descriptor: Int32 in [1, 0, 2] where ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 {
      return TerminalSize(columns: size.ws_col, rows: size.ws_row)
    }
    return TerminalSize(columns: 80, rows: 24)
  }

  /// Puts standard input into raw mode, so that every key reaches the VM.
  /// - Returns: what puts it back; nil where it is no terminal.
  static func makeRaw() -> (@Sendable () -> Void)? {
    var before = termios()
    guard tcgetattr(0, &before) == 0 else { return nil }
    var raw = before
    cfmakeraw(&raw)
    guard tcsetattr(0, TCSANOW, &raw) == 0 else { return nil }
    let saved = before
    return {
      var saved = saved
      tcsetattr(0, TCSANOW, &saved)
    }
  }
}
