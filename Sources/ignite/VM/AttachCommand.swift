internal import ArgumentParser
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteSupervisor
internal import IgniteSystem

struct AttachCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach", abstract: "Join a running VM's program: its input, its output from now on, its exit status.",
    discussion: """
      Of a machine it is the console. The keys ctrl-p ctrl-q leave again, and the VM goes on; so does it when this command \
      is ended where the program has no terminal and --sig-proxy=false is given.
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(name: .customLong("no-stdin"), help: "Without standard input.")
  var noInput = false

  @Option(
    name: .customLong("detach-keys"),
    help: ArgumentHelp("What leaves again: keys separated by commas, as ctrl-p,ctrl-q.", valueName: "keys"))
  var keys: String?

  @Option(
    name: .customLong("sig-proxy"),
    help: ArgumentHelp("Whether signals to this command are the program's: true or false.", valueName: "bool"))
  var proxies: Bool = true

  @Argument(help: "A name or UID.", completion: .unpausedVMs)
  var vm: String

  func run() async throws {
    let detachKeys = try keys.map { text in
      guard let keys = DetachKeys(text) else {
        throw EngineError(
          .invalidArgument, "--detach-keys \(text) are no keys",
          advice: "write characters or ctrl- with a letter, separated by commas: ctrl-p,ctrl-q")
      }
      return keys
    }
    let status = try await Interrupts.run { interrupts -> Int32 in
      let engine = try await global.engine()
      let vm = try await engine.vm(vm)
      let isMachine = try engine.isMachine(vm)
      let tty = vm.spec.process.tty || isMachine
      // The program reads what is typed only where it was given an input.
      let input = !noInput && (vm.spec.process.stdin || isMachine)
      let loop = try EventLoop(name: "ignite-client")
      defer { loop.stop() }
      let client = try await engine.client(of: vm, loop: loop)
      if input { try Foreground.checkTerminal(tty: tty, interactive: input) }
      let session = try await client.attach(
        Foreground.streams(interactive: input, detachKeys: tty && input ? detachKeys ?? .usual : detachKeys))
      if proxies && !isMachine {
        Foreground.redirect(interrupts, to: session, tty: tty)
        if tty { session.resize(Terminal.size()) }
      } else {
        interrupts.redirect { signal in
          if [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(signal) { session.leave() }
        }
      }
      do {
        return try await Foreground.wait(for: session, tty: tty, interactive: input)
      } catch is ProcessSession.Left {
        return 0
      } catch is CancellationError {
        return 130
      }
    }
    throw ExitWith(status: status)
  }
}
