internal import CIgniteSystem
public import Glibc
internal import Synchronization

/// How a process ended.
public enum ProcessEnd: Sendable, Equatable, Codable, CustomStringConvertible {
  case exited(Int32)
  case signalled(Int32)

  public var description: String {
    switch self {
    case .exited(let code): "exit status \(code)"
    case .signalled(let number): "signal \(number)"
    }
  }

  /// The number that a shell gives it: 128 and the signal's for a killed process.
  public var shellStatus: Int32 {
    switch self {
    case .exited(let code): code
    case .signalled(let number): 128 &+ number
    }
  }
}

/// A process, told from a later one of the same number by when it started.
public struct ProcessIdentity: Sendable, Equatable, Hashable, Codable {
  public var pid: Int32
  /// Field 22 of /proc/PID/stat: clock ticks from the host's start; 0 where unknown.
  public var startTime: UInt64

  public init(pid: Int32, startTime: UInt64) {
    self.pid = pid
    self.startTime = startTime
  }

  /// This process.
  public static var current: ProcessIdentity {
    ProcessIdentity(pid: getpid(), startTime: ignite_start_time(getpid()))
  }
}

/// A running process held by a pidfd: signals and waiting never reach another that took its number.
public final class ProcessHandle: Sendable {
  private struct State {
    var watching = false
    var ended = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  public let identity: ProcessIdentity
  let pidfd: FileDescriptor
  private let state = Mutex(State())

  init(identity: ProcessIdentity, pidfd: FileDescriptor) {
    self.identity = identity
    self.pidfd = pidfd
  }

  /// Opens a process that need not be a child of the caller; nil where it is gone, or its number is another's now.
  public static func open(_ identity: ProcessIdentity) throws(SystemError) -> ProcessHandle? {
    guard identity.pid > 0, identity.startTime > 0 else { return nil }
    let number = ignite_pidfd_open(identity.pid)
    if number < 0 {
      if errno == ESRCH { return nil }
      throw SystemError("open process \(identity.pid)")
    }
    let pidfd = FileDescriptor(number)
    // Checked after the pidfd is held: from here on the number stays with this process.
    guard ignite_start_time(identity.pid) == identity.startTime else { return nil }
    let handle = ProcessHandle(identity: identity, pidfd: pidfd)
    return handle.isAlive ? handle : nil
  }

  /// Whether it runs; false once it has ended, reaped or not.
  public var isAlive: Bool {
    var entry = pollfd(fd: pidfd.number, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) == 0
  }

  /// Sends a signal; a process that has ended is none to complain about.
  public func kill(_ signal: Int32 = SIGKILL) throws(SystemError) {
    if ignite_pidfd_signal(pidfd.number, signal) != 0, errno != ESRCH {
      throw SystemError("signal process \(identity.pid)")
    }
  }

  /// Waits until the process has ended; a task's cancellation does not cut it short.
  public func ended(on loop: EventLoop) async {
    await withCheckedContinuation { continuation in
      let (now, watch) = state.withLock { state -> (Bool, Bool) in
        if state.ended { return (true, false) }
        state.waiters.append(continuation)
        defer { state.watching = true }
        return (false, !state.watching)
      }
      if now { continuation.resume() }
      if watch { loop.submit { self.watch(on: loop) } }
    }
  }

  private func watch(on loop: EventLoop) {
    do {
      try loop.watch(pidfd.number, for: .read) { _ in
        loop.cancelWatch(self.pidfd.number)
        self.finish()
      }
    } catch {
      // Without a watch (out of memory for it) the end is looked for from time to time.
      if isAlive {
        loop.schedule(after: .milliseconds(100)) { self.watch(on: loop) }
      } else {
        finish()
      }
    }
  }

  private func finish() {
    let waiters = state.withLock { state in
      state.ended = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }
}

/// A child that `launch` started.
public final class LaunchedProcess: Sendable {
  public let handle: ProcessHandle
  private let status = Mutex<ProcessEnd?>(nil)

  init(identity: ProcessIdentity, pidfd: FileDescriptor) {
    handle = ProcessHandle(identity: identity, pidfd: pidfd)
  }

  public var identity: ProcessIdentity { handle.identity }
  public var pid: Int32 { handle.identity.pid }

  /// Sends a signal; a process that has ended is none to complain about.
  public func kill(_ signal: Int32 = SIGKILL) throws(SystemError) { try handle.kill(signal) }

  /// Waits for its end and reaps it; may be called again, and by several.
  public func exited(on loop: EventLoop) async -> ProcessEnd {
    await handle.ended(on: loop)
    return reap() ?? .exited(-1)
  }

  /// A descriptor that can be read, for poll(2), once it has ended.
  public var pollable: Int32 { handle.pidfd.number }

  /// Its end, if it has ended: reaps it then. Does not wait.
  public func reap() -> ProcessEnd? {
    status.withLock { status in
      if let status { return status }
      var code: Int32 = 0
      var signalled: Int32 = 0
      guard ignite_pidfd_reap(handle.pidfd.number, &code, &signalled) == 1 else { return nil }
      status = signalled != 0 ? .signalled(code) : .exited(code)
      return status
    }
  }
}
