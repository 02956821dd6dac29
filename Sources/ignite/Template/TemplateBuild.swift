internal import ArgumentParser
internal import Glibc
internal import IgniteAPI
internal import IgniteEngine
internal import IgniteHypervisor

struct TemplateBuild: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build", abstract: "Boot a kernel and freeze it, so that VMs of this kind start warm; print its key.",
    discussion: """
      A VM's first start makes the template for its kind by itself, in the background. Kernel, processors, memory and the \
      size of the VM's disk are what tells kinds apart.
      """, helpNames: .long)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var resources: ResourceOptions

  @Option(help: ArgumentHelp("For images' commands, or for their own init: process or machine.", valueName: "mode"))
  var boot: String = "process"

  @Option(
    name: .customLong("volume"), parsing: .singleValue,
    help: ArgumentHelp("For VMs with a volume of this size, in their order.", valueName: "size[:ro]"))
  var volumes: [String] = []

  @Flag(name: .customLong("reclaim-memory"), help: "For VMs with --reclaim-memory.")
  var reclaimMemory = false

  @Option(help: .hidden)
  var baseSize: UInt64?

  /// Started by another command: says nothing, and takes only the time that others leave.
  @Flag(help: .hidden)
  var background = false

  func run() async throws {
    if background { Self.yieldToOthers() }
    let request = try request()
    let key = try await Interrupts.run { _ in
      let engine = try await global.engine()
      return try await engine.buildTemplate(request, notify: background ? { _ in } : CommandLineTool.say)?.key
    }
    if let key {
      Output.line(key.hex)
    } else if !background {
      throw EngineError(
        .wrongState, "such a template is there, or being made by another command",
        advice: "list them with `ignite template ls`")
    }
  }

  private func request() throws -> TemplateRequest {
    var request = try resources.template(boot: boot)
    if let baseSize { request.baseBytes = baseSize }
    request.volumes = volumes
    request.reclaimsMemory = reclaimMemory
    return request
  }

  /// SCHED_IDLE of sched(7), which the C library's module leaves out.
  private static let idlePolicy: Int32 = 5

  /// Of the processors' time only what nobody else wants; what it starts inherits that.
  private static func yieldToOthers() {
    var parameters = sched_param()
    if sched_setscheduler(0, idlePolicy, &parameters) != 0 { _ = nice(19) }
  }
}
