internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem
internal import IgniteWire

/// A VM's health check, as it goes on.
struct HealthState {
  var report = HealthReport()
  /// When the process began, in nanoseconds of CLOCK_MONOTONIC.
  var began: UInt64 = 0
  /// The agent's stream of the check that runs.
  var stream: UInt32?
  var started = Date()
  var output: [UInt8] = []
  var timer: UInt64?
}

/// Health checks: a program of the image's, or the user's, run beside the VM's own from time to time.
extension Supervisor {
  /// Begins to check, once the process runs.
  func beginHealth() {
    guard let check = plan.health else { return }
    health = HealthState()
    health.began = Timeline.now()
    note(.starting)
    schedule(check)
  }

  private func isStarting(_ check: SpawnPlan.Health) -> Bool {
    Timeline.now() - health.began < UInt64(max(0, check.startPeriod)) * 1_000_000
  }

  private func schedule(_ check: SpawnPlan.Health) {
    let starts = isStarting(check) && health.report.status == .starting
    let wait = starts && check.startInterval > 0 ? check.startInterval : check.interval
    health.timer = loop.schedule(after: .milliseconds(wait)) { [weak self] in
      self?.assumeIsolated { $0.check() }
    }
  }

  private func check() {
    guard let check = plan.health, phase == .running, main.exit == nil, let agent else { return }
    // One that stands still is neither well nor ill.
    guard !pause.isWanted else { return schedule(check) }
    lastAgentStream += 1
    let stream = lastAgentStream
    health.stream = stream
    health.started = Date()
    health.output = []
    var request = ProcessRequest()
    request.arguments = check.arguments.map { Array($0.utf8) }
    request.environment = plan.process.environment.map { Array($0.utf8) }
    request.workingDirectory = Array(plan.process.workingDirectory.utf8)
    request.user = Array(plan.process.user.utf8)
    agent.send(Frame(.request, stream: stream, payload: request.encoded()))
    health.timer = loop.schedule(after: .milliseconds(check.timeout)) { [weak self] in
      self?.assumeIsolated { supervisor in
        guard supervisor.health.stream == stream else { return }
        supervisor.agent?.send(.signal(stream: stream, number: SIGKILL))
        supervisor.agent?.send(Frame(.close, stream: stream))
        let text = Array("\nit did not end within \(check.timeout) ms\n".utf8)
        supervisor.health.output = supervisor.health.output.prefix(HealthReport.keptOutput - text.count) + text
        supervisor.endCheck(-1)
      }
    }
  }

  func handleCheck(_ frame: Frame) {
    guard let stream = health.stream else { return }
    switch frame.type {
    case .data:
      let left = HealthReport.keptOutput - health.output.count
      if left > 0 { health.output += frame.payload.prefix(left) }
      agent?.send(.credit(stream: stream, channel: frame.channel, bytes: frame.payload.count))
    case .response:
      guard let response = try? Response(decoding: frame.payload) else { return }
      if response.code != 0 {
        health.output = Array(response.text.utf8.prefix(HealthReport.keptOutput))
        endCheck(Int32(clamping: min(response.code, 255)))
      }
    case .exit:
      agent?.send(Frame(.acknowledge, stream: stream))
      let status = try? ExitStatus(decoding: frame.payload)
      endCheck(status?.shellStatus ?? -1)
    default: break
    }
  }

  private func endCheck(_ exitCode: Int32) {
    guard let check = plan.health, health.stream != nil else { return }
    health.stream = nil
    if let timer = health.timer { loop.cancelTimer(timer) }
    let before = health.report.status
    health.report.add(
      HealthReport.Check(
        start: health.started, end: Date(), exitCode: exitCode, output: String(decoding: health.output, as: UTF8.self)),
      retries: check.retries, isStarting: isStarting(check))
    if health.report.status != before { note(health.report.status) }
    let (report, path) = (health.report, plan.paths.health)
    Task { await ThreadExecutor.run { report.write(path) } }
    if health.report.status == .unhealthy, check.endsUnhealthy {
      return fail("it is unhealthy: \(check.retries) checks failed one after the other")
    }
    schedule(check)
  }

  /// The journal has the changes, as far as there is room: one that changes for ever fills no disk.
  private func note(_ status: HealthReport.Status) {
    let journal = journal
    Task {
      guard await journal.hasRoom() else { return }
      var entry = self.entry(.health)
      entry.health = status.rawValue
      try? await journal.append(entry, waits: false)
    }
  }
}
