internal import Glibc
internal import IgniteSystem
internal import Synchronization

/// A machine that QEMU runs.
final class QEMUMachine: Machine {
  let events: AsyncStream<MachineEvent>
  private let loop: EventLoop
  let configuration: MachineConfiguration
  private let process: MachineProcess
  let control: QMPClient
  private let errors: ErrorTail
  private let reason: ShutdownReason

  init(loop: EventLoop, configuration: MachineConfiguration, process: MachineProcess) {
    self.loop = loop
    self.configuration = configuration
    self.process = process
    errors = ErrorTail()
    // A reader that does not keep up loses the oldest events, never memory.
    let (stream, continuation) = AsyncStream.makeStream(of: MachineEvent.self, bufferingPolicy: .bufferingNewest(64))
    events = stream
    let reason = ShutdownReason()
    self.reason = reason
    control = QMPClient(loop: loop) { message in
      guard case .event(let name, let data) = message else {
        if message == nil {
          continuation.yield(.closed)
          continuation.finish()
        }
        return
      }
      guard let event = Self.event(name, data) else { return }
      if case .shutDown(let why) = event { reason.value.withLock { $0 = why } }
      continuation.yield(event)
    }
  }

  /// Reads QEMU's standard error, connects its monitor and waits until it answers.
  func begin(errors descriptor: FileDescriptor?) async throws(HypervisorError) {
    if let descriptor {
      let tail = errors
      loop.submit { [loop] in tail.start(loop: loop, descriptor: descriptor) }
    } else {
      loop.submit { [errors] in errors.finish() }
    }
    _ = try await control.connect(configuration.controlSocketPath)
  }

  var identity: ProcessIdentity { process.handle.identity }

  func status() async throws(HypervisorError) -> MachineStatus {
    switch try await control.execute("query-status")["status"]?.string {
    case "running": .running
    case "paused", "prelaunch": .paused
    case "shutdown", "guest-panicked": .shutDown
    default: .other
    }
  }

  func pause() async throws(HypervisorError) { _ = try await control.execute("stop") }

  func resume() async throws(HypervisorError) { _ = try await control.execute("cont") }

  func powerButton() async throws(HypervisorError) { _ = try await control.execute("system_powerdown") }

  func quit() async throws(HypervisorError) {
    do {
      _ = try await control.execute("quit")
    } catch  where error.code == .gone && !process.handle.isAlive {
      // It went before it could answer.
    }
  }

  func kill() throws(HypervisorError) {
    do throws(SystemError) {
      try process.handle.kill()
    } catch {
      throw HypervisorError(error)
    }
  }

  func memory() async throws(HypervisorError) -> MachineMemory {
    let summary = try await control.execute("query-memory-size-summary")
    let size = summary["base-memory"]?.integer.map { UInt64(clamping: $0) } ?? configuration.memoryBytes
    // proc(5), statm: the second field is the resident set in pages.
    let statm = HostHardware.text(of: "/proc/\(identity.pid)/statm", limit: 256) ?? ""
    let fields = statm.split(separator: " ")
    let pages = fields.count > 1 ? UInt64(fields[1]) ?? 0 : 0
    return MachineMemory(size: size, resident: pages &* UInt64(sysconf(Int32(_SC_PAGESIZE))))
  }

  func ended() async -> MachineEnd {
    let status = await process.ended(on: loop)
    let diagnosis = await errors.whole()
    await control.close()
    return MachineEnd(exitStatus: status, reason: reason.value.withLock { $0 }, diagnosis: diagnosis)
  }

  /// QEMU's qapi/run-state.json.
  private static func event(_ name: String, _ data: JSONValue?) -> MachineEvent? {
    switch name {
    case "SHUTDOWN": .shutDown(data?["reason"]?.string.flatMap(MachineShutdownReason.init) ?? .other)
    case "RESET": .reset
    case "STOP": .paused
    case "RESUME": .resumed
    case "GUEST_PANICKED": .guestPanicked
    default: nil
    }
  }
}

/// The reason that the last SHUTDOWN event gave.
private final class ShutdownReason: Sendable {
  let value = Mutex<MachineShutdownReason?>(nil)
}

/// The last of what a process wrote to its standard error.
// @unchecked: touched on the loop's thread alone; `result` is a mutex.
private final class ErrorTail: @unchecked Sendable {
  private static let limit = 8 << 10
  private var bytes: [UInt8] = []
  private var stream: LoopStream?
  private let result = Mutex<(done: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))
  private let text = Mutex("")

  func start(loop: EventLoop, descriptor: FileDescriptor) {
    do {
      stream = try LoopStream(loop: loop, descriptor: descriptor) { [weak self] event in
        switch event {
        case .bytes(let bytes): self?.append(Array(bytes))
        case .ended: self?.finish()
        case .drained: break
        }
      }
    } catch {
      finish()
    }
  }

  private func append(_ more: [UInt8]) {
    bytes += more
    if bytes.count > Self.limit { bytes.removeFirst(bytes.count - Self.limit) }
  }

  func finish() {
    let words = String(decoding: bytes, as: UTF8.self)
    // Hostile guests may have a hand in it: printable characters and line ends only.
    text.withLock {
      $0 = String(words.unicodeScalars.filter { $0 == "\n" || ($0.value >= 32 && $0.value != 127) }.map(Character.init))
    }
    stream = nil
    let waiters = result.withLock { result in
      result.done = true
      defer { result.waiters = [] }
      return result.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// All of it, once the process has closed its end.
  func whole() async -> String {
    await withCheckedContinuation { continuation in
      let done = result.withLock { result in
        if !result.done { result.waiters.append(continuation) }
        return result.done
      }
      if done { continuation.resume() }
    }
    return text.withLock { $0 }
  }
}
