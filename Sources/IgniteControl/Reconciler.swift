internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSystem

/// Keeps declared objects what they are declared as: a queue of them, each with one worker at a time, and back-off for what
/// fails or has to be mended again and again.
///
/// Apps and sets are brought to their spec, with all their parts. A VM that was declared on its own is started again when
/// it broke down; its spec is its own truth. What a command works on is left to it until it has done.
public actor Reconciler {
  /// What has become of one look at an object.
  public enum Outcome: Sendable {
    /// Everything was as it is to be.
    case unchanged
    /// Something was not, and is now.
    case mended([PlannedChange])
    /// A command is at work on it.
    case busy
    case gone
    case failed(String)
  }

  public typealias Report = @Sendable (_ title: String, _ outcome: Outcome, _ took: Duration) -> Void

  private struct Item {
    var due: ContinuousClock.Instant
    var isRunning = false
    /// It was asked for again while it was worked on.
    var isDirty = false
    /// Looks in a row that failed, or found something to mend.
    var troubles = 0
    var calmSince = ContinuousClock.now
  }

  /// Objects worked on at once.
  private static let width = 4
  /// How often everything is looked at, for what no event told of.
  private static let resync: Duration = .seconds(30)

  private let controller: Controller
  private let report: Report
  private var items: [String: Item] = [:]
  private var running = 0
  /// The dispatcher, where it waits; and whether it was called while it did not.
  private var waiter: CheckedContinuation<Void, Never>?
  private var isCalled = false

  public init(_ controller: Controller, report: @escaping Report) {
    self.controller = controller
    self.report = report
  }

  /// How many objects wait to be looked at, and how many are being.
  public var depth: (waiting: Int, running: Int) {
    (items.values.count { !$0.isRunning && $0.due <= .now }, running)
  }

  /// Works until it is cancelled.
  /// - Parameter ready: called once everything has been looked at for the first time.
  public func run(ready: @escaping @Sendable () async -> Void) async throws {
    let watch = controller.engine.watch()
    let begin = try await watch.version()
    try await enqueueAll()
    await ready()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        var version = begin
        while true {
          guard let (changes, next) = try await watch.next(after: version) else {
            version = try await watch.version()
            try await self.enqueueAll()
            continue
          }
          version = next
          for change in changes { try await self.noticed(change) }
        }
      }
      group.addTask {
        while true {
          try await Task.sleep(for: Self.resync)
          try await self.enqueueAll()
        }
      }
      group.addTask { try await self.dispatch() }
      try await group.next()
      group.cancelAll()
    }
  }

  // MARK: The queue

  /// Looks at the object soon; one that is in trouble waits for its time.
  public func enqueue(_ title: String) {
    var item = items[title] ?? Item(due: .now)
    if item.isRunning { item.isDirty = true } else if item.troubles == 0 { item.due = min(item.due, .now) }
    items[title] = item
    call()
  }

  private func enqueueAll() async throws {
    for title in try await controller.roots() { enqueue(title) }
    try await RequestID.$current.withValue(RequestID()) { try await controller.collectOrphans() }
  }

  private func noticed(_ change: ObjectWatch.Change) async throws {
    if let root = try await controller.root(of: change) { enqueue(root) }
  }

  private func dispatch() async throws {
    try await withThrowingDiscardingTaskGroup { group in
      while true {
        try Task.checkCancellation()
        let now = ContinuousClock.now
        while running < Self.width, let (title, due) = next, due <= now {
          items[title]?.isRunning = true
          items[title]?.isDirty = false
          running += 1
          group.addTask {
            // Whatever comes of this look bears its mark.
            try await RequestID.$current.withValue(RequestID()) { try await self.work(title) }
          }
        }
        await pause(until: running < Self.width ? next?.due : nil)
      }
    }
  }

  /// What nobody works on, and is due first. Asked for after each look at an object, so it makes no lists of all.
  private var next: (title: String, due: ContinuousClock.Instant)? {
    var first: (title: String, due: ContinuousClock.Instant)?
    for (title, item) in items where !item.isRunning {
      if let due = first?.due, due <= item.due { continue }
      first = (title, item.due)
    }
    return first
  }

  /// Until something is enqueued or done, or that moment has come.
  private func pause(until moment: ContinuousClock.Instant?) async {
    if isCalled {
      isCalled = false
      return
    }
    let timer = moment.map { moment in
      Task {
        // One that is cancelled has nothing to say: it would wake the next wait, and that one's the next.
        guard (try? await Task.sleep(until: moment)) != nil else { return }
        call()
      }
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { waiter = $0 }
    } onCancel: {
      Task { await call() }
    }
    timer?.cancel()
  }

  private func call() {
    isCalled = waiter == nil
    waiter?.resume()
    waiter = nil
  }

  private func work(_ title: String) async throws {
    let began = ContinuousClock.now
    var outcome: Outcome
    do {
      outcome = try await controller.reconcile(title)
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      outcome = .failed(userMessage(error))
    }
    report(title, outcome, .now - began)
    done(title, outcome)
  }

  private func done(_ title: String, _ outcome: Outcome) {
    running -= 1
    guard var item = items[title] else { return }
    item.isRunning = false
    let now = ContinuousClock.now
    switch outcome {
    case .gone:
      items[title] = nil
      call()
      return
    case .busy: item.due = now + .seconds(1)
    case .unchanged:
      // Trouble is over once it has been quiet for a while.
      if now - item.calmSince > .seconds(600) { item.troubles = 0 }
      item.due = item.isDirty ? now : now + Self.resync * 2
      if item.troubles == 0 || !item.isDirty { break }
      item.due = now + .seconds(1)
    case .mended, .failed:
      item.troubles += 1
      item.calmSince = now
      item.due = now + Self.delay(after: item.troubles)
    }
    item.isDirty = false
    items[title] = item
    call()
  }

  /// A second, then twice as long each time, five minutes at most; a quarter more or less, so that not all come at once.
  static func delay(after troubles: Int) -> Duration {
    let seconds = min(300.0, Double(1 << min(max(0, troubles - 1), 12)))
    return .milliseconds(Int64(seconds * 1000 * Double.random(in: 0.75...1.25)))
  }
}
