internal import CIgniteSystem
internal import Glibc
internal import Synchronization

/// A serial executor with one thread of its own, for actors that make blocking calls: C libraries, SQLite, file I/O.
///
/// Swift's shared pool has one thread a core, so a blocking call there would stop everything else. The thread starts
/// with the first job and ends when the executor is released.
public final class ThreadExecutor: SerialExecutor, Sendable {
  private let queue: JobQueue

  /// - Parameter name: the thread's name, as `top -H` shows it; at most 15 bytes are kept.
  public init(name: String) {
    queue = JobQueue(name: name)
  }

  deinit { queue.close() }

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    // The job holds its actor, and the actor this executor, until it has run.
    let executor = asUnownedSerialExecutor()
    queue.append { job.runSynchronously(on: executor) }
  }

  /// Runs a blocking closure on the executor's thread, after what was given before it.
  public func submit(_ body: @escaping @Sendable () -> Void) { queue.append(body) }

  /// Runs a blocking closure on a thread of its own and returns its result; for one-off work that has no actor.
  ///
  /// Cancelling the task does not stop the closure.
  public static func run<Result: Sendable, Failure: Error>(
    name: String = "ignite-io", _ body: @escaping @Sendable () throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let queue = JobQueue(name: name)
    let result: Swift.Result<Result, Failure> = await withCheckedContinuation { continuation in
      queue.append {
        do throws(Failure) {
          continuation.resume(returning: .success(try body()))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    queue.close()
    return try result.get()
  }
}

/// A queue of closures and the one thread that runs them.
private final class JobQueue: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var started = false
    var closed = false
  }

  private let name: String
  private let state = Mutex(State())
  private let wake = Wakeup()

  init(name: String) { self.name = name }

  /// All of it under the lock: once the thread can take the job, the job may release whoever called this, and with that
  /// the queue.
  func append(_ job: @escaping @Sendable () -> Void) {
    state.withLock { state in
      state.jobs.append(job)
      wake.signal()
      if !state.started { startThread() }
      state.started = true
    }
  }

  func close() {
    state.withLock { state in
      state.closed = true
      wake.signal()
    }
  }

  private func startThread() {
    let box = Unmanaged.passRetained(self)
    let failure = ignite_thread_start(
      name, { argument in argument.map { Unmanaged<JobQueue>.fromOpaque($0).takeRetainedValue().run() } },
      box.toOpaque())
    precondition(failure == 0, "the system refuses a thread: \(String(cString: strerror(failure)))")
  }

  private func run() {
    while true {
      let (jobs, closed) = state.withLock { state in
        let jobs = state.jobs
        state.jobs = []
        return (jobs, state.closed)
      }
      if jobs.isEmpty {
        if closed { return }
        wake.wait()
        continue
      }
      for job in jobs { job() }
    }
  }
}

/// A counting wake-up over an eventfd.
private final class Wakeup: Sendable {
  private let descriptor = eventfd(0, Int32(EFD_CLOEXEC))

  deinit { close(descriptor) }

  func signal() {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
  }

  func wait() {
    var count: UInt64 = 0
    while read(descriptor, &count, 8) < 0, errno == EINTR {}
  }
}
