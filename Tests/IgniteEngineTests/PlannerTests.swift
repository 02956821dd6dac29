import IgniteAPI
import IgniteOCI
import IgniteSupervisor
import Testing

@testable import IgniteEngine

/// What a VM runs, by its spec and its image.
@Suite struct Planner {
  private func plan(_ image: ImageConfig.Process, _ change: (inout VMSpec) -> Void = { _ in }) throws
    -> SpawnPlan.Process
  {
    var spec = VMSpec(image: .init(oci: "localhost/x:latest"))
    change(&spec)
    return try ProcessPlanner(spec: spec, image: image, hostname: "box").process()
  }

  @Test func entrypointAndCommand() throws {
    let image = ImageConfig.Process(entrypoint: ["/entry"], command: ["a", "b"])
    #expect(try plan(image).arguments == ["/entry", "a", "b"])
    #expect(try plan(image) { $0.process.args = ["c"] }.arguments == ["/entry", "c"])
    #expect(try plan(image) { $0.process.command = ["/other"] }.arguments == ["/other"])
    #expect(
      try plan(image) {
        $0.process.command = []
        $0.process.args = ["/bin/x"]
      }.arguments == ["/bin/x"])
  }

  @Test func variables() throws {
    let image = ImageConfig.Process(command: ["x"], environment: ["A=1", "B=2"])
    let variables = try plan(image) {
      $0.process.env = ["B=3", "C=4"]
      $0.process.tty = true
    }.environment
    #expect(
      Set(variables) == ["PATH=\(ProcessPlanner.defaultPath)", "A=1", "B=3", "C=4", "HOSTNAME=box", "TERM=xterm"])
    #expect(
      try plan(.init(command: ["x"], environment: ["PATH=/p"])).environment.filter { $0.hasPrefix("PATH=") } == [
        "PATH=/p"
      ])
  }

  @Test func machines() throws {
    #expect(try plan(.init()).machine)
    #expect(try plan(.init()).arguments == ["/sbin/init"])
    #expect(try plan(.init(command: ["/lib/systemd/systemd"])).machine)
    #expect(try !plan(.init(command: ["/bin/sh"])).machine)
    #expect(try plan(.init(command: ["/bin/sh"])) { $0.process.boot = .machine }.machine)
    #expect(try plan(.init(command: ["/bin/sh"])) { $0.process.boot = .machine }.arguments == ["/sbin/init"])
    #expect(try plan(.init(command: ["/usr/sbin/init"])).arguments == ["/usr/sbin/init"])
    #expect(throws: EngineError.self) { try plan(.init()) { $0.process.boot = .process } }
  }

  @Test func theImagesUserAndDirectoryStandUnlessReplaced() throws {
    let image = ImageConfig.Process(command: ["x"], user: "app", workingDirectory: "/srv")
    #expect(try plan(image).user == "app")
    #expect(try plan(image).workingDirectory == "/srv")
    let replaced = try plan(image) {
      $0.process.user = "0:0"
      $0.process.workingDir = "/tmp"
    }
    #expect(replaced.user == "0:0")
    #expect(replaced.workingDirectory == "/tmp")
  }
}

@Suite struct SignalNames {
  @Test(arguments: [
    ("TERM", 15), ("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("RTMIN", 34),
  ])
  func known(name: String, number: Int32) { #expect(Signals.number(name) == number) }

  @Test(arguments: ["", "0", "65", "-1", "FOO", "RTMIN+31", "RTMIN+x", "SIG"])
  func unknown(name: String) { #expect(Signals.number(name) == nil) }

  @Test func aBareShellIsSaidByNobodyElse() {
    func says(_ command: [String]?, entrypoint: [String]? = nil, _ change: (inout VMSpec.Process) -> Void = { _ in })
      -> Bool
    {
      var process = VMSpec.Process()
      change(&process)
      return ProcessPlanner.saysBareShell(process, ImageConfig.Process(entrypoint: entrypoint, command: command))
    }
    for shell in ["/bin/sh", "bash", "/usr/bin/zsh"] { #expect(says([shell])) }
    #expect(says(["/bin/bash"], entrypoint: []))
    #expect(!says(["/bin/sh", "-c", "x"]))
    #expect(!says(["/bin/cat"]))
    #expect(!says(nil))
    #expect(!says(["/bin/sh"], entrypoint: ["/entry"]))
    #expect(!says(["/bin/sh"]) { $0.args = ["true"] })
    #expect(!says(["/bin/sh"]) { $0.command = [] })
    #expect(!says(["/bin/sh"]) { $0.stdin = true })
    #expect(!says(["/bin/sh"]) { $0.tty = true })
    #expect(!says(["/bin/sh"]) { $0.boot = .process })
  }
}
