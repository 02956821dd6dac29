import CGuest
import IgniteWire

/// The guest's first process: prepares the machine, waits for the host to make it a VM, and serves it until its end.
@main
enum Init {
  static func main() {
    // A process of the guest, started by the agent to try how that goes (a spare's rehearsal).
    if getpid() != 1 { return rehearse() }
    prepare()
    if lacksTimer() {
      // The host starts another one.
      Console.log("the kernel found no timer: the host was too busy while it booted")
      PowerOff.restart()
    }
    let arguments = KernelArguments.read()
    if arguments.run.isEmpty {
      serve()
    } else {
      Benchmark.run(arguments)
    }
    PowerOff.restart()
  }

  private static func rehearse() {
    let word: Bytes = [111, 107, 10]
    _ = word.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
  }

  private static func serve() {
    guard let port = Port.open() else {
      Console.log("no virtio-serial port named ignite.agent; powering off")
      return
    }
    Agent(port: port).run()
  }
}
