public import IgniteAPI
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSupervisor
public import IgniteWire

/// What `exec` is asked for; what is absent is as in the VM's own process.
public struct ExecRequest: Sendable {
  public var arguments: [String]
  public var environment: [String] = []
  public var workingDirectory: String?
  public var user: String?
  public var tty = false
  public var input = false
  public var size = TerminalSize(columns: 80, rows: 24)

  public init(arguments: [String]) { self.arguments = arguments }
}

extension Engine {
  /// Whether the VM boots its image's own init: then it has no process to stay with.
  public func isMachine(_ vm: VM) throws -> Bool {
    let image = try imageOfVM(vm.metadata.uid)
    return try ProcessPlanner(spec: vm.spec, image: image.config.config, hostname: "").process().machine
  }

  /// A process beside the VM's own, with its environment, user and working directory where none is given.
  public func processRequest(_ exec: ExecRequest, in vm: VM) throws -> ProcessRequest {
    let image = try imageOfVM(vm.metadata.uid)
    let hostname = vm.spec.hostname ?? vm.metadata.shortUID
    var spec = vm.spec
    if spec.process.envFrom?.isEmpty == false {
      // What it was given at its start, whatever stands there by now.
      spec.process.env = try SpawnPlan.read(path: paths.plan(vm.metadata.uid)).process.environment
    }
    spec.process.env += exec.environment
    spec.process.tty = exec.tty
    let process = try ProcessPlanner(spec: spec, image: image.config.config, hostname: hostname).process()
    var request = ProcessRequest()
    request.arguments = exec.arguments.map { Array($0.utf8) }
    request.environment = process.environment.map { Array($0.utf8) }
    request.workingDirectory = Array((exec.workingDirectory ?? process.workingDirectory).utf8)
    request.user = Array((exec.user ?? process.user).utf8)
    request.tty = exec.tty
    request.input = exec.input
    request.size = exec.size
    return request
  }
}
