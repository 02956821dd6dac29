internal import Glibc
internal import IgniteHypervisor
internal import IgniteSupervisor
internal import IgniteSystem

/// The program as `ignite-spawn`: one VM's supervisor. Descriptor 3 is the pipe to the command that started it, 4 the
/// VM's lock.
enum Spawn {
  /// A template's memory and state, at 5 and 6. What is at 7, where something is, is held open until the process ends.
  private static func inheritedTemplate() throws -> FrozenMachine {
    guard fcntl(5, F_SETFD, FD_CLOEXEC) == 0, fcntl(6, F_SETFD, FD_CLOEXEC) == 0 else {
      throw SystemError("take over the template")
    }
    _ = fcntl(7, F_SETFD, FD_CLOEXEC)
    return FrozenMachine(memory: FileDescriptor(5), state: FileDescriptor(6))
  }

  /// What a supervisor that takes its own place tells itself: `PLAN --restarts COUNT MILLISECONDS`.
  private static func restarts(_ arguments: [String]) -> Restarts? {
    guard arguments.count == 4, arguments[1] == "--restarts", let count = Int(arguments[2]),
      let delay = Int(arguments[3]), count > 0, delay >= 0
    else { return nil }
    return Restarts(count: count, delay: delay)
  }

  static func main(_ arguments: [String]) async -> Never {
    if TemplateKeeper.isWanted(arguments) {
      exit(await ThreadExecutor.run { TemplateKeeper.run(arguments) })
    }
    if ShareKeeper.isWanted(arguments) {
      exit(await ThreadExecutor.run { ShareKeeper.run(arguments) })
    }
    if StandIn.isWanted(arguments) {
      exit(await ThreadExecutor.run { StandIn.run(arguments) })
    }
    let notices = FileDescriptor(3)
    let lock = FileDescriptor(4)
    let restarts = restarts(arguments)
    guard arguments.count == 1 || restarts != nil, fcntl(3, F_SETFD, FD_CLOEXEC) == 0,
      fcntl(4, F_SETFD, FD_CLOEXEC) == 0
    else {
      CommandLineTool.say("ignite-spawn is started by ignite, for a VM; see `ignite run --help`")
      exit(1)
    }
    do {
      let plan = try SpawnPlan.read(path: arguments[0])
      let frozen = try plan.template.map { _ in try inheritedTemplate() }
      let hypervisor: any Hypervisor =
        if plan.doesNothing == true { try DoesNothingHypervisor() } else { try QEMUHypervisor() }
      let supervisor = try Supervisor(
        plan: plan, hypervisor: hypervisor, notices: notices, lock: lock, frozen: frozen,
        restarts: restarts ?? Restarts())
      await supervisor.run()
      exit(0)
    } catch {
      SpawnNotice(.failed, code: 125, message: userMessage(error)).write(to: notices)
      exit(1)
    }
  }
}
