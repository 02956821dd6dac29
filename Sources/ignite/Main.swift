internal import Glibc
internal import IgniteSystem

/// One program under several names: `ignite`, `ignited` for the daemon, and `ignite-spawn` for a VM's supervisor.
@main
enum Main {
  /// Not `async`: the runtime's own waiting for an async main lets every signal through on the main thread.
  static func main() {
    // Whoever reads us may go away; writes tell that.
    signal(SIGPIPE, SIG_IGN)
    // What a VM's own user is to read is made readable by its mode; what it is not lies below directories of mode 0700.
    umask(0o022)
    let arguments = CommandLine.arguments
    var name = arguments.first?.split(separator: "/").last.map(String.init) ?? "ignite"
    // Another program that starts this one has no say in its name.
    if arguments.dropFirst().first == "--share" { name = "ignite-spawn" }
    Timeline.mark(name == "ignite-spawn" ? "spawn" : "begin")
    // Commands that have something to clean up read their signals; the others let them end the process.
    if name == "ignited" || (name != "ignite-spawn" && Interrupts.areWanted(by: arguments)) { Interrupts.block() }
    // Detached: this thread does nothing any more, and the main actor with it. The process is its owner, and ends with it.
    Task.detached {
      switch name {
      case "ignite-spawn": await Spawn.main(Array(arguments.dropFirst()))
      case "ignited": await CommandLineTool.daemon(Array(arguments.dropFirst()))
      default: await CommandLineTool.main(Array(arguments.dropFirst()))
      }
    }
    while true { pause() }
  }
}
