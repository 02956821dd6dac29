internal import FoundationEssentials
internal import Glibc
internal import IgniteHypervisor
internal import IgniteSystem
internal import IgniteWire

/// Whether the machine stands still, and who waits for what of it.
struct PauseState {
  /// Who asked for the machine to go on, while its guest sets its clock.
  struct ClockWaiter {
    let answer: (Response) -> Void
    let timer: UInt64
  }

  /// What was asked for last. The machine follows, one step after the other.
  var isWanted = false
  /// The machine stands still, and the journal says so.
  var isDone = false
  /// The step that was begun last.
  var step: Task<Void, Never>?
  /// By the agent's stream.
  var clocks: [UInt32: ClockWaiter] = [:]
}

/// Pause: the hypervisor halts the processors and the guest's clocks, everything else stays as it is.
extension Supervisor {
  /// For the guest to set its clock once the machine goes on.
  private static let clockTimeout: Duration = .seconds(10)

  func pauseMachine(for request: RequestID?, _ answer: @escaping (Response) -> Void) {
    guard phase == .running, main.exit == nil, !main.stopping, let machine else {
      let state = main.stopping ? "being stopped" : phase.rawValue
      return answer(Response(code: 125, text: "the VM is \(state): only one that runs can be paused"))
    }
    guard !pause.isWanted else { return answer(Response(code: 125, text: "the VM is paused already")) }
    pause.isWanted = true
    next { [self] in answer(await halt(machine, for: request)) }
  }

  func unpauseMachine(for request: RequestID?, _ answer: @escaping (Response) -> Void) {
    guard phase == .running, pause.isWanted, let machine else {
      return answer(Response(code: 125, text: "the VM is not paused"))
    }
    pause.isWanted = false
    next { [self] in
      if let failure = await release(machine, for: request) { return answer(failure) }
      setClock(answer)
    }
  }

  /// A machine that stands still could not end by itself: it goes on first. The stop's grace begins then.
  func stopEvenPaused(_ request: StopRequest, for id: RequestID?) {
    main.endedBy = main.endedBy ?? id
    guard pause.isWanted || pause.isDone, phase == .running else { return stop(request) }
    main.stopping = true
    // Nothing is asked of a guest that is ended at once.
    if request.signal == UInt64(SIGKILL), request.grace == 0, !writesVolumes {
      return finish(Outcome(exitCode: 137, failure: nil))
    }
    continueForTheEnd()
    next { [self] in stop(request) }
  }

  /// Lets a machine that stands still go on, for its process has ended or is to end.
  func continueForTheEnd() {
    guard pause.isWanted || pause.isDone, let machine else { return }
    pause.isWanted = false
    next { [self] in
      if await release(machine) == nil { setClock { _ in } }
    }
  }

  /// The guest's answer to `setClock`; false for a frame that is none.
  func clockWasSet(_ frame: Frame) -> Bool {
    guard frame.type == .response, let waiter = pause.clocks.removeValue(forKey: frame.stream) else { return false }
    loop.cancelTimer(waiter.timer)
    let response = try? Response(decoding: frame.payload)
    if response?.code == 0 {
      waiter.answer(Response())
    } else {
      waiter.answer(Response(text: "its clock was not set: \(response?.text ?? "the guest's answer makes no sense")"))
    }
    return true
  }

  // MARK: Steps

  /// Runs `step` after those before it.
  private func next(_ step: @escaping () async -> Void) {
    let previous = pause.step
    // On this actor, as the steps are.
    pause.step = Task { [self] in
      await previous?.value
      await run(step)
    }
  }

  private func run(_ step: () async -> Void) async { await step() }

  private func halt(_ machine: any Machine, for request: RequestID?) async -> Response {
    guard await journal.hasRoom() else {
      pause.isWanted = false
      return Response(code: 125, text: "the VM was paused so often that its journal is full")
    }
    do {
      try await machine.pause()
      pause.isDone = true
      CrashPoint.pass(.supervisorPaused)
      // Its end may have come in between, and somebody may have asked for it.
      guard phase == .running, main.exit == nil else {
        _ = await release(machine)
        return Response(code: 125, text: "the VM is ending")
      }
      try await journal.append(entry(.paused, request: request))
      return Response()
    } catch {
      pause.isWanted = false
      if pause.isDone { _ = await release(machine) }
      return Response(code: 125, text: "the VM could not be paused: \(userMessage(error))")
    }
  }

  /// - Returns: why it does not go on; nil when it does.
  private func release(_ machine: any Machine, for request: RequestID? = nil) async -> Response? {
    guard pause.isDone else { return nil }
    do {
      try await machine.resume()
      pause.isDone = false
      // An end has its own entry, which stays the last.
      if main.exit == nil { try await journal.append(entry(.resumed, request: request)) }
      return nil
    } catch {
      pause.isWanted = pause.isDone
      return Response(code: 125, text: "the VM could not be unpaused: \(userMessage(error))")
    }
  }

  private func setClock(_ answer: @escaping (Response) -> Void) {
    guard let agent, main.exit == nil else { return answer(Response(text: "its clock was not set: it is ending")) }
    lastAgentStream += 1
    let stream = lastAgentStream
    let timer = loop.schedule(after: Self.clockTimeout) { [weak self] in
      self?.assumeIsolated { supervisor in
        supervisor.pause.clocks.removeValue(forKey: stream)?.answer(
          Response(text: "its clock was not set: the guest did not answer within \(Self.clockTimeout)"))
      }
    }
    pause.clocks[stream] = PauseState.ClockWaiter(answer: answer, timer: timer)
    agent.send(Frame(.request, stream: stream, payload: ClockRequest(wallClock: wallClock()).encoded()))
  }
}
