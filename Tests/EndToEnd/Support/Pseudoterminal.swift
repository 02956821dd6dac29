import CIgniteSystem
import Glibc
import IgniteSystem

/// A terminal in a test's hands.
final class Pseudoterminal: Sendable {
  private let master: FileDescriptor
  private let slave: FileDescriptor

  init(rows: UInt16, columns: UInt16) throws {
    master = FileDescriptor(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC))
    guard grantpt(master.number) == 0, unlockpt(master.number) == 0, let name = ptsname(master.number) else {
      throw SystemError("open a pseudo-terminal")
    }
    slave = try FileDescriptor.open(String(cString: name), O_RDWR | O_NOCTTY)
    var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
    guard ioctl(master.number, UInt(TIOCSWINSZ), &size) == 0 else { throw SystemError("set the terminal's size") }
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
    let process = try IgniteSystem.launch(
      LaunchRequest(
        executable: program.arguments[0], arguments: program.arguments, environment: program.environment,
        standardInput: slave.number, standardOutput: slave.number, standardError: slave.number, newSession: true))
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
