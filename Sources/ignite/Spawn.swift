internal import Glibc
internal import IgniteHypervisor
internal import IgniteSupervisor
internal import IgniteSystem

/// The program as `ignite-spawn`: one VM's supervisor. Descriptor 3 is the pipe to the command that started it, 4 the
/// VM's lock.
enum Spawn {
  static func main(_ arguments: [String]) async -> Never {
    let notices = FileDescriptor(3)
    let lock = FileDescriptor(4)
    guard arguments.count == 1, fcntl(3, F_SETFD, FD_CLOEXEC) == 0, fcntl(4, F_SETFD, FD_CLOEXEC) == 0 else {
      CommandLineTool.say("ignite-spawn is started by ignite, for a VM; see `ignite run --help`")
      exit(1)
    }
    do {
      let plan = try SpawnPlan.read(path: arguments[0])
      let supervisor = try Supervisor(plan: plan, hypervisor: try QEMUHypervisor(), notices: notices, lock: lock)
      await supervisor.run()
      exit(0)
    } catch {
      SpawnNotice(.failed, code: 125, message: userMessage(error)).write(to: notices)
      exit(1)
    }
  }
}
