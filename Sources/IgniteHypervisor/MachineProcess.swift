internal import IgniteSystem

/// A machine's process: a child, or one that another supervisor started.
enum MachineProcess: Sendable {
  case child(LaunchedProcess)
  case other(ProcessHandle)

  var handle: ProcessHandle {
    switch self {
    case .child(let process): process.handle
    case .other(let handle): handle
    }
  }

  /// Waits for its end; nil where only its parent learns how it ended.
  func ended(on loop: EventLoop) async -> ProcessEnd? {
    switch self {
    case .child(let process): return await process.exited(on: loop)
    case .other(let handle):
      await handle.ended(on: loop)
      return nil
    }
  }
}
