import CGuest
import IgniteWire

/// `ignite.run` on the kernel's command line: the same root and the same start without a host, to be measured against.
enum Benchmark {
  static func run(_ arguments: KernelArguments) {
    var configuration = Configuration()
    configuration.hostname = "ignite"
    configuration.modulesDevice = text(arguments.modulesDevice)
    var request = ProcessRequest()
    request.isMain = true
    request.arguments = [arguments.run] + arguments.arguments
    do throws(GuestError) {
      try configure(configuration)
      _ = guest_child_signals()
      var wiring = Launcher.Wiring()
      wiring.own = [0, 1, 2]
      wait(for: try Launcher().launch(request, wiring))
    } catch {
      Console.log(error.text)
    }
    PowerOff.now()
  }

  private static func wait(for pid: Int32) {
    var code: Int32 = 0
    var signal: Int32 = 0
    while true {
      let ended = guest_wait(&code, &signal)
      if ended < 0 { return }
      if ended == pid {
        let status = ExitStatus(code: UInt64(code), signal: UInt64(signal))
        return Console.log("main ended with status \(status.shellStatus)")
      }
    }
  }
}
