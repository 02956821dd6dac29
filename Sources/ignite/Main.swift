internal import ArgumentParser
internal import Glibc
internal import IgniteSupervisor
internal import IgniteSystem

/// One program under several names: `ignite`, and `ignite-spawn` for a VM's supervisor.
@main
enum Main {
  static func main() async {
    // Whoever reads us may go away; writes tell that.
    signal(SIGPIPE, SIG_IGN)
    // What a VM's own user is to read is made readable by its mode; what it is not lies below directories of mode 0700.
    umask(0o022)
    let arguments = CommandLine.arguments
    let name = arguments.first?.split(separator: "/").last.map(String.init) ?? "ignite"
    if name == "ignite-spawn" {
      await Spawn.main(Array(arguments.dropFirst()))
    } else {
      // Commands that have something to clean up read their signals; the others let them end the process.
      if Interrupts.areWanted(by: arguments) { Interrupts.block() }
      await CommandLineTool.main(Array(arguments.dropFirst()))
    }
  }
}
