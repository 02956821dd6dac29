internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// A program of the user's, which has this command's streams, terminal and environment: an editor, diff.
enum ForegroundChild {
  /// Runs a line of the shell to its end.
  ///
  /// When the task is cancelled, the program is asked to end, and waited for.
  /// - Parameter arguments: `$1` and so on of the line.
  /// - Returns: its status as a shell shows it.
  static func run(_ line: String, _ arguments: [String], directory: String? = nil) async throws -> Int32 {
    var request = LaunchRequest(
      executable: "/bin/sh", arguments: ["/bin/sh", "-c", line, "sh"] + arguments,
      environment: ProcessInfo.processInfo.environment, standardInput: 0, standardOutput: 1, standardError: 2,
      workingDirectory: directory, limits: [])
    request.keepsRights = true
    let child = request
    let process = try await ThreadExecutor.run { () throws(SystemError) in try launch(child) }
    let loop = try EventLoop(name: "ignite-child")
    defer { loop.stop() }
    let end = await withTaskCancellationHandler {
      await process.exited(on: loop)
    } onCancel: {
      try? process.kill(SIGTERM)
    }
    try Task.checkCancellation()
    return end.shellStatus
  }
}

/// A directory of this command's alone, for files that another program is shown.
struct ScratchFolder: Sendable {
  let path: String

  /// Blocking.
  init(_ name: String) throws {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/\(name)-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw SystemError("make a directory in \(parent)") }
    path = String(cString: made)
  }

  /// Blocking.
  func remove() { try? FileManager.default.removeItem(atPath: path) }
}
