import CGuest

/// The guest's first process: prepares the machine, waits for the host to make it a VM, and serves it until its end.
@main
enum Init {
  static func main() {
    prepare()
    let arguments = KernelArguments.read()
    if arguments.run.isEmpty {
      serve()
    } else {
      Benchmark.run(arguments)
    }
    PowerOff.restart()
  }

  private static func serve() {
    guard let port = Port.open() else {
      Console.log("no virtio-serial port named ignite.agent; powering off")
      return
    }
    Agent(port: port).run()
  }
}
