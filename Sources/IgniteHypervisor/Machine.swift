public import IgniteSystem

/// A machine's state, as its hypervisor has it.
public enum MachineStatus: String, Sendable, Codable {
  case running
  case paused
  /// The guest has powered off or crashed; the hypervisor is about to end.
  case shutDown
  /// Another state of the hypervisor (a migration's, an input/output error's).
  case other
}

/// What a hypervisor tells of its machine unasked.
public enum MachineEvent: Sendable, Equatable {
  /// The guest goes down, and why.
  case shutDown(MachineShutdownReason)
  case reset
  case paused
  case resumed
  /// The kernel panicked.
  case guestPanicked
  /// The control channel closed; nothing follows.
  case closed
}

/// Why a machine went down.
public enum MachineShutdownReason: String, Sendable, Codable {
  /// The guest powered off.
  case guestShutdown = "guest-shutdown"
  /// The guest asked for a reboot, which is how its kernel ends too (`reboot=t`).
  case guestReset = "guest-reset"
  case guestPanic = "guest-panic"
  /// `quit` over the control channel.
  case hostQuit = "host-qmp-quit"
  /// A signal to the hypervisor.
  case hostSignal = "host-signal"
  case other
}

/// How a machine ended.
public struct MachineEnd: Sendable, Equatable {
  /// The process's end; nil where it was not our child.
  public var exitStatus: ProcessEnd?
  public var reason: MachineShutdownReason?
  /// The last of what the hypervisor wrote to its standard error, at most 8 KiB.
  public var diagnosis: String

  public init(exitStatus: ProcessEnd?, reason: MachineShutdownReason?, diagnosis: String) {
    self.exitStatus = exitStatus
    self.reason = reason
    self.diagnosis = diagnosis
  }

  /// Whether the guest went down by itself: it powered off or asked for a reboot.
  public var isOrderly: Bool {
    (reason == .guestShutdown || reason == .guestReset) && (exitStatus == nil || exitStatus == .exited(0))
  }

  /// What is known of the end, to follow a sentence that says there was one: ` (signal 9: …)`, or nothing.
  public var explanation: String {
    var parts: [String] = []
    if let reason, reason != .other { parts.append(reason.rawValue) }
    if let exitStatus, exitStatus != .exited(0) { parts.append(exitStatus.description) }
    if let line = diagnosis.split(separator: "\n").last { parts.append(String(line)) }
    return parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
  }
}

/// A machine's memory in bytes.
public struct MachineMemory: Sendable, Equatable {
  /// What it was given.
  public var size: UInt64
  /// Resident memory of the hypervisor's process.
  public var resident: UInt64

  public init(size: UInt64, resident: UInt64) {
    self.size = size
    self.resident = resident
  }
}

/// A running machine. What a driver cannot do it leaves to the default, which says so.
public protocol Machine: AnyObject, Sendable {
  /// The hypervisor's process, to be remembered for a successor.
  var identity: ProcessIdentity { get }
  /// What the hypervisor tells; one reader.
  var events: AsyncStream<MachineEvent> { get }

  func status() async throws(HypervisorError) -> MachineStatus
  func pause() async throws(HypervisorError)
  func resume() async throws(HypervisorError)
  /// Presses the power button; what comes of it is up to the guest.
  func powerButton() async throws(HypervisorError)
  /// Ends the machine as if its power were cut, by way of the hypervisor.
  func quit() async throws(HypervisorError)
  /// Ends the hypervisor's process at once.
  func kill() throws(HypervisorError)
  func memory() async throws(HypervisorError) -> MachineMemory
  /// Stops the machine and returns the state of its devices. Its memory, which it was started with, is part of that
  /// state; the machine is good for nothing more.
  /// - Parameters:
  ///   - path: where a Unix socket is made for the state to come through, which the hypervisor's process reaches by the
  ///     same path.
  ///   - user: the process's user, where it is not the caller's.
  func freeze(through path: String, user: UInt32?) async throws(HypervisorError) -> [UInt8]
  /// Waits until the hypervisor's process has ended.
  func ended() async -> MachineEnd
}

extension Machine {
  public func pause() async throws(HypervisorError) { throw unsupportedByMachine("pause") }
  public func resume() async throws(HypervisorError) { throw unsupportedByMachine("resume") }
  public func powerButton() async throws(HypervisorError) { throw unsupportedByMachine("power button") }
  public func memory() async throws(HypervisorError) -> MachineMemory { throw unsupportedByMachine("memory figures") }
  public func freeze(through path: String, user: UInt32?) async throws(HypervisorError) -> [UInt8] {
    throw unsupportedByMachine("freezing")
  }
}

private func unsupportedByMachine(_ what: String) -> HypervisorError {
  HypervisorError(.unsupported, "this hypervisor has no \(what)")
}
