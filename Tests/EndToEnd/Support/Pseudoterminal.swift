import CIgniteSystem
import Glibc
import IgniteSystem

/// A terminal in a test's hands.
final class Pseudoterminal: Sendable {
  private let master: FileDescriptor
  private let slave: FileDescriptor

  init(rows: UInt16, columns: UInt16) throws {
    master = try FileDescriptor.open("/dev/ptmx", O_RDWR | O_NOCTTY)
    // TIOCSPTLCK and TIOCGPTN, as ioctl_tty(2) has them.
    var unlocked: Int32 = 0
    var number: Int32 = 0
    guard ioctl(master.number, 0x4004_5431, &unlocked) == 0, ioctl(master.number, 0x8004_5430, &number) == 0 else {
      throw SystemError("open a pseudo-terminal")
    }
    slave = try FileDescriptor.open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
    try setSize(rows: rows, columns: columns)
  }

  private func setSize(rows: UInt16, columns: UInt16) throws {
    var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
    guard ioctl(master.number, UInt(TIOCSWINSZ), &size) == 0 else { throw SystemError("set the terminal's size") }
  }

  /// The kernel tells the terminal's foreground processes only, and ours has no controlling terminal: told by hand.
  func resize(rows: UInt16, columns: UInt16, process: Process) throws {
    try setSize(rows: rows, columns: columns)
    try process.process.kill(SIGWINCH)
  }

  struct Process {
    let process: LaunchedProcess
    let loop: EventLoop
    func ended() async -> Int32 {
      let status = await process.exited(on: loop).shellStatus
      loop.stop()
      return status
    }
  }

  func launch(_ program: Program) throws -> Process {
    var request = LaunchRequest(
      executable: program.arguments[0], arguments: program.arguments, environment: program.environment,
      standardInput: slave.number, standardOutput: slave.number, standardError: slave.number, newSession: true)
    request.keepsRights = true
    let process = try IgniteSystem.launch(request)
    // The program's own end is the last: reading ends with it.
    slave.close()
    return Process(process: process, loop: try EventLoop(name: "test-terminal"))
  }

  func write(_ text: String) { _ = Glibc.write(master.number, text, text.utf8.count) }

  /// Reads up to and with `text`.
  func read(until text: String) async throws -> String {
    let master = master
    let wanted = Array(text.utf8)
    return try await ThreadExecutor.run(name: "test-terminal") { () throws(SystemError) -> String in
      var bytes: [UInt8] = []
      var byte: UInt8 = 0
      while bytes.suffix(wanted.count) != wanted[...] {
        if try retrying("read the terminal", { Glibc.read(master.number, &byte, 1) }) == 0 { break }
        bytes.append(byte)
      }
      return String(decoding: bytes, as: UTF8.self)
    }
  }
}
