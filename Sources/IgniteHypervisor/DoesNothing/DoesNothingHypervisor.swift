internal import Glibc
public import IgniteSystem

/// A driver without machines, for measuring and testing Ignite itself: what stands for a machine is a process (`StandIn`)
/// that answers as a guest's agent does, as far as "the main process runs" and "it has ended". No kernel boots, and nothing
/// of the image is read.
///
/// Nothing chooses it but the variable IGNITE_DRIVER of whoever starts a VM; a VM of it says so in `status.hypervisor`.
public final class DoesNothingHypervisor: Hypervisor {
  public static let title = "DoesNothing"
  /// What it says to whoever asks a VM of it for more.
  public static let explanation = "no VM runs: the driver does nothing"
  public var name: String { Self.title }
  private let loop: EventLoop

  public init() throws(HypervisorError) {
    do throws(SystemError) {
      loop = try EventLoop(name: "ignite-nothing")
    } catch {
      throw HypervisorError(error)
    }
  }

  public func version() throws(HypervisorError) -> String { "1" }

  public func start(
    _ configuration: MachineConfiguration, network: NetworkAttachment, confinement: MachineConfinement,
    whenListening: @Sendable () async -> Void
  ) async throws(HypervisorError) -> any Machine {
    let process: LaunchedProcess
    do throws(SystemError) {
      process = try await ThreadExecutor.run { () throws(SystemError) in
        try StandIn.start(configuration, confinement: confinement)
      }
    } catch {
      throw HypervisorError(error)
    }
    await whenListening()
    return DoesNothingMachine(loop: loop, process: .child(process))
  }

  public func adopt(
    _ identity: ProcessIdentity, configuration: MachineConfiguration
  ) async throws(HypervisorError) -> (any Machine)? {
    do throws(SystemError) {
      return try ProcessHandle.open(identity).map { DoesNothingMachine(loop: loop, process: .other($0)) }
    } catch {
      throw HypervisorError(error)
    }
  }
}

/// A process that stands for a machine. It can be ended, and no more.
final class DoesNothingMachine: Machine {
  let events: AsyncStream<MachineEvent>
  private let loop: EventLoop
  private let process: MachineProcess

  init(loop: EventLoop, process: MachineProcess) {
    self.loop = loop
    self.process = process
    events = AsyncStream { $0.finish() }
  }

  var identity: ProcessIdentity { process.handle.identity }

  func status() async throws(HypervisorError) -> MachineStatus { process.handle.isAlive ? .running : .shutDown }

  func quit() async throws(HypervisorError) { try kill() }

  func kill() throws(HypervisorError) {
    do throws(SystemError) {
      try process.handle.kill()
    } catch {
      throw HypervisorError(error)
    }
  }

  func ended() async -> MachineEnd {
    let status = await process.ended(on: loop)
    return MachineEnd(exitStatus: status, reason: status == .exited(0) ? .guestShutdown : nil, diagnosis: "")
  }
}
