internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSources
internal import IgniteSystem

/// Looks at sources, and runs syncs, when it is their time: at intervals, when they or what they come from have changed, and when
/// somebody asks.
public actor GitOpsRunner {
  public enum Outcome: Sendable {
    /// A source, and the revision that it is at; nil where another process is at it.
    case looked(revision: String?)
    case synced(SyncOutcome)
    case failed(String)
  }

  public typealias Report = @Sendable (_ title: String, _ outcome: Outcome, _ took: Duration) -> Void

  private struct Item {
    var due: ContinuousClock.Instant
    var isRunning = false
    /// There was a reason to run it again while it ran.
    var isDirty = false
    var failures = 0
    /// What it was run for: another one is a reason to run again.
    var mark: [String]
  }

  private static let firstRetry: Duration = .seconds(2)
  /// Of a sync that says nothing else.
  private static let longestRetry: Duration = .seconds(60)
  private static let dependencyRetry: Duration = .seconds(2)

  private let controller: Controller
  private let report: Report
  private var items: [String: Item] = [:]
  private var directories: [String: (path: String, task: Task<Void, Never>)] = [:]
  private let (wakes, wake) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  public init(_ controller: Controller, report: @escaping Report) {
    self.controller = controller
    self.report = report
  }

  /// Works until it is cancelled.
  public func run(ready: @escaping @Sendable () async -> Void) async throws {
    let watch = controller.engine.watch()
    let begin = try await watch.version()
    let wake = wake
    defer { for (_, directory) in directories { directory.task.cancel() } }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        var version = begin
        while true {
          guard let (changes, next) = try await watch.next(after: version) else {
            version = try await watch.version()
            wake.yield()
            continue
          }
          version = next
          if changes.contains(where: { KindSchema.gitOpsKinds.contains($0.object.kind) }) { wake.yield() }
        }
      }
      group.addTask { try await self.dispatch(ready) }
      try await group.next()
      group.cancelAll()
    }
  }

  private func dispatch(_ ready: @escaping @Sendable () async -> Void) async throws {
    let wake = wake
    wake.yield()
    var isTold = false
    /// For what is due next: one at a time.
    var timer: Task<Void, Never>?
    defer { timer?.cancel() }
    try await withThrowingDiscardingTaskGroup { group in
      for await _ in wakes {
        try Task.checkCancellation()
        let objects = try await self.objects()
        take(objects)
        for title in items.filter({ !$0.value.isRunning && $0.value.due <= .now }).map(\.key).sorted() {
          guard let object = objects[title] else { continue }
          items[title]?.isRunning = true
          items[title]?.isDirty = false
          group.addTask { try await self.work(title, object) }
        }
        timer?.cancel()
        timer = items.values.filter { !$0.isRunning }.map(\.due).min().map { next in
          Task { if (try? await Task.sleep(until: next)) != nil { wake.yield() } }
        }
        if !isTold {
          isTold = true
          await ready()
        }
      }
    }
  }

  private func objects() async throws -> [String: DeclaredObject] {
    var objects: [String: DeclaredObject] = [:]
    for kind in KindSchema.gitOpsKinds {
      for object in try await controller.engine.declared(kind: kind) where object.metadata.deletionTimestamp == nil {
        objects[object.title] = object
      }
    }
    return objects
  }

  /// New ones, and those with a reason to be run at once.
  private func take(_ objects: [String: DeclaredObject]) {
    for title in items.keys where objects[title] == nil { items[title] = nil }
    for (title, object) in objects {
      var mark = ["\(object.metadata.uid).\(object.metadata.generation)"]
      mark += [object.metadata.annotations?[GitOps.requestKey], object.metadata.annotations?[GitOps.massDeletionKey]]
        .map { $0 ?? "" }
      if let source = object.sourceTitle {
        mark.append(objects[source].flatMap { SourceStatus($0).artifact?.revision } ?? "")
      }
      if items[title] == nil {
        items[title] = Item(due: .now, mark: mark)
      } else if items[title]?.mark != mark {
        items[title]?.mark = mark
        runAgain(title)
      }
    }
    watchDirectories(objects)
  }

  /// Directories tell by themselves when they have changed.
  private func watchDirectories(_ objects: [String: DeclaredObject]) {
    func path(_ title: String) -> String? {
      guard let object = objects[title], object.kind == GitOps.directory, object.spec["suspend"]?.bool != true else {
        return nil
      }
      return object.spec["path"]?.string
    }
    for (title, directory) in directories where path(title) != directory.path {
      directory.task.cancel()
      directories[title] = nil
    }
    for title in objects.keys where directories[title] == nil {
      guard let path = path(title) else { continue }
      let task = Task {
        for await _ in DirectorySource(path: path).updates() { self.changed(title) }
      }
      directories[title] = (path, task)
    }
  }

  private func changed(_ title: String) {
    runAgain(title)
    wake.yield()
  }

  private func runAgain(_ title: String) {
    items[title]?.due = .now
    items[title]?.failures = 0
    items[title]?.isDirty = true
  }

  private func work(_ title: String, _ object: DeclaredObject) async throws {
    let began = ContinuousClock.now
    var outcome: Outcome?
    do {
      if object.kind == GitOps.sync {
        outcome = .synced(try await controller.run(sync: object.metadata.name))
      } else if object.spec["suspend"]?.bool != true {
        outcome = .looked(revision: try await controller.look(at: title)?.revision)
      }
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      outcome = .failed(userMessage(error))
    }
    if let outcome { report(title, outcome, .now - began) }
    done(title, object, outcome)
  }

  private func done(_ title: String, _ object: DeclaredObject, _ outcome: Outcome?) {
    guard var item = items[title] else { return }
    item.isRunning = false
    var interval: Duration = .milliseconds(object.spec["interval"]?.integer ?? 60_000)
    var isFailed = false
    switch outcome {
    case .failed: isFailed = true
    case .looked(nil), .synced(.busy): interval = min(interval, .seconds(1))
    case .synced(.waiting): interval = min(interval, Self.dependencyRetry)
    default: break
    }
    item.failures = isFailed ? item.failures + 1 : 0
    let schedule: SourceSchedule
    if object.kind == GitOps.sync {
      let retry = object.spec["retryInterval"]?.integer.map { Duration.milliseconds($0) }
      schedule = SourceSchedule(
        interval: interval, firstRetry: retry ?? min(interval, Self.firstRetry),
        lastRetry: retry ?? min(interval, Self.longestRetry))
    } else {
      schedule = SourceSchedule(interval: interval, firstRetry: min(interval, Self.firstRetry))
    }
    item.due = item.isDirty ? .now : .now + schedule.wait(failures: item.failures, random: .random(in: 0..<1))
    items[title] = item
    wake.yield()
  }
}
