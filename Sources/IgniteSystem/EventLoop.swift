internal import CIgniteSystem
internal import Glibc
internal import Synchronization

/// An epoll loop on a thread of its own that is also a serial executor.
///
/// An actor that takes the loop as its executor gets its descriptors' events on its own thread, so its handlers call
/// it synchronously with `assumeIsolated`. A library's loop would do for sockets; this one also carries pidfds,
/// signalfds, terminals and descriptors passed over sockets, which those have no way to take.
// @unchecked: `watches` and `timers` are touched on the loop's thread alone (each entry checks), `state` is a mutex.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
  /// What a descriptor is ready for, or is to be watched for: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP.
  public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let read = Readiness(rawValue: UInt32(EPOLLIN.rawValue))
    public static let write = Readiness(rawValue: UInt32(EPOLLOUT.rawValue))
    public static let hangUp = Readiness(rawValue: UInt32(EPOLLHUP.rawValue))
    public static let error = Readiness(rawValue: UInt32(EPOLLERR.rawValue))
  }

  private struct Timer {
    let id: UInt64
    let deadline: ContinuousClock.Instant
    let action: @Sendable () -> Void
  }

  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var stopping = false
  }

  private let poll: Int32
  private let wake: Int32
  private let state = Mutex(State())
  private let threadID = Mutex<pthread_t?>(nil)
  private var watches: [Int32: @Sendable (Readiness) -> Void] = [:]
  private var timers: [Timer] = []
  private var lastTimer: UInt64 = 0

  /// Starts the thread. It ends with `stop`.
  /// - Throws: SystemError where the system refuses the descriptors or the thread.
  public init(name: String) throws(SystemError) {
    poll = Int32(try retrying("epoll_create1") { Int(epoll_create1(Int32(EPOLL_CLOEXEC))) })
    wake = Int32(try retrying("eventfd") { Int(eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))) })
    var event = epoll_event(events: UInt32(EPOLLIN.rawValue), data: epoll_data_t(fd: wake))
    try retrying("epoll_ctl") { Int(epoll_ctl(poll, EPOLL_CTL_ADD, wake, &event)) }
    let box = Unmanaged.passRetained(self)
    let failure = ignite_thread_start(
      name, { argument in argument.map { Unmanaged<EventLoop>.fromOpaque($0).takeRetainedValue().run() } },
      box.toOpaque())
    if failure != 0 {
      box.release()
      throw SystemError("start a thread", code: failure)
    }
  }

  deinit {
    close(poll)
    close(wake)
  }

  // MARK: Executor

  public func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    submit { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
  }

  public func checkIsolated() {
    precondition(isOnLoop, "called off the event loop's thread")
  }

  public func isIsolatingCurrentContext() -> Bool? { isOnLoop }

  /// Runs `action` on the loop's thread, soon.
  ///
  /// The loop is woken under the lock: once it can take the action, that may stop it and release it.
  public func submit(_ action: @escaping @Sendable () -> Void) {
    state.withLock { state in
      state.jobs.append(action)
      if state.jobs.count == 1 { signal() }
    }
  }

  /// Ends the thread after what has been submitted; watches and timers are dropped.
  public func stop() {
    state.withLock { state in
      state.stopping = true
      signal()
    }
  }

  // MARK: On the loop's thread

  /// Watches a descriptor, level-triggered; hang-ups and errors are always told. On the loop's thread only.
  ///
  /// The handler may cancel its own watch. The caller cancels before it closes the descriptor.
  public func watch(
    _ descriptor: Int32, for interest: Readiness, _ handler: @escaping @Sendable (Readiness) -> Void
  ) throws(SystemError) {
    checkIsolated()
    var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
    try retrying("watch descriptor \(descriptor)") { Int(epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event)) }
    watches[descriptor] = handler
  }

  /// Changes what a watched descriptor is watched for.
  public func update(_ descriptor: Int32, for interest: Readiness) {
    checkIsolated()
    guard watches[descriptor] != nil else { return }
    var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
    _ = epoll_ctl(poll, EPOLL_CTL_MOD, descriptor, &event)
  }

  public func cancelWatch(_ descriptor: Int32) {
    checkIsolated()
    guard watches.removeValue(forKey: descriptor) != nil else { return }
    _ = epoll_ctl(poll, EPOLL_CTL_DEL, descriptor, nil)
  }

  /// Runs `action` once after `delay`; on the loop's thread only. The number cancels it.
  @discardableResult
  public func schedule(after delay: Duration, _ action: @escaping @Sendable () -> Void) -> UInt64 {
    checkIsolated()
    lastTimer += 1
    let timer = Timer(id: lastTimer, deadline: .now + delay, action: action)
    let place = timers.firstIndex { $0.deadline > timer.deadline } ?? timers.endIndex
    timers.insert(timer, at: place)
    return timer.id
  }

  public func cancelTimer(_ id: UInt64) {
    checkIsolated()
    timers.removeAll { $0.id == id }
  }

  // MARK: Private

  private var isOnLoop: Bool {
    threadID.withLock { id in id.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
  }

  private func signal() {
    var one: UInt64 = 1
    _ = write(wake, &one, 8)
  }

  private func run() {
    threadID.withLock { $0 = pthread_self() }
    var events = [epoll_event](repeating: epoll_event(), count: 64)
    while true {
      let (jobs, stopping) = state.withLock { state in
        let jobs = state.jobs
        state.jobs = []
        return (jobs, state.stopping)
      }
      for job in jobs { job() }
      if !jobs.isEmpty { continue }
      if stopping { break }
      let count = epoll_wait(poll, &events, Int32(events.count), timeout())
      for index in 0..<max(0, Int(count)) {
        let descriptor = events[index].data.fd
        if descriptor == wake {
          var drained: UInt64 = 0
          _ = read(wake, &drained, 8)
        } else if let handler = watches[descriptor] {
          handler(Readiness(rawValue: events[index].events))
        }
      }
      while let timer = timers.first, timer.deadline <= .now {
        timers.removeFirst()
        timer.action()
      }
    }
    watches = [:]
    timers = []
  }

  /// Milliseconds until the next timer, rounded up; -1 without one.
  private func timeout() -> Int32 {
    guard let timer = timers.first else { return -1 }
    let left = ContinuousClock.now.duration(to: timer.deadline).components
    if left.seconds < 0 { return 0 }
    return Int32(clamping: left.seconds * 1000 + (left.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
