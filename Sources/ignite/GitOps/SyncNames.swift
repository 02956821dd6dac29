internal import IgniteAPI
internal import IgniteControl
internal import IgniteEngine
internal import IgniteSystem

/// What the commands of `gitops` share.
enum SyncNames {
  /// The syncs of these names, or all.
  static func read(_ names: [String], _ controller: Controller) async throws -> [DeclaredObject] {
    if names.isEmpty { return try await controller.engine.declared(kind: GitOps.sync) }
    var found: [DeclaredObject] = []
    for name in names { found.append(try await controller.sync(name)) }
    return found
  }

  /// The same of a source or a sync.
  static func word(of object: DeclaredObject) -> String {
    word(object, object.kind == GitOps.sync ? SyncStatus(object) : SourceStatus(object))
  }

  /// `Ready`, `Reconciling`, or why it is neither.
  static func word(_ sync: DeclaredObject, _ status: any RunStatus) -> String {
    if sync.spec["suspend"]?.bool == true { return "Suspended" }
    guard let ready = status.condition("Ready") else { return "New" }
    return ready.status == "True" ? (ready.reason == "Drifted" ? "Drifted" : "Ready") : ready.reason
  }

  /// What it waits for, or what went wrong last.
  static func holding(_ sync: DeclaredObject, _ status: any RunStatus) -> String? {
    guard let ready = status.condition("Ready") else { return nil }
    return ready.status == "True" && ready.reason != "Drifted" ? nil : ready.message
  }

  /// Runs a sync, and prints what becomes of it.
  static func run(_ name: String, _ options: SyncOptions, _ controller: Controller) async throws {
    let outcome = try await whileBusy("Sync/\(name)") { () -> SyncOutcome? in
      let outcome = try await controller.run(sync: name, options, progress: PlanRun.report)
      if case .busy = outcome { return nil }
      return outcome
    }
    switch outcome {
    case .unchanged(let revision): Output.line("\(revision): everything is as it says")
    case .applied(let revision, let changes):
      Output.line("\(revision): applied, \(changes == 1 ? "1 change" : "\(changes) changes")")
    case .drifted(let revision, let titles):
      Output.line("\(revision): not as it says: \(titles.joined(separator: ", "))")
      throw ExitWith(status: 1)
    case .waiting(let reason): throw EngineError(.wrongState, "nothing was done: \(reason)")
    case .suspended, .busy, .gone:
      throw EngineError(.wrongState, "nothing was done: Sync/\(name) has just been changed")
    }
  }

  /// Suspends syncs, or lets them go on, and prints their names.
  static func suspend(_ names: [String], _ isSuspended: Bool, _ engine: Engine) async throws {
    for name in names {
      try await Controller(engine: engine).suspend(sync: name, isSuspended)
      Output.line(name)
    }
  }

  /// Tries until no other process is at work on the object.
  @discardableResult
  static func whileBusy<Value>(_ title: String, _ body: () async throws -> Value?) async throws -> Value {
    var isTold = false
    while true {
      if let value = try await body() { return value }
      if !isTold { Output.line("\(title): waiting: another command, or the daemon, is at work on it") }
      isTold = true
      try await Task.sleep(for: .milliseconds(200))
    }
  }
}
