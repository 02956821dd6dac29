internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

struct TemplateFill: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fill",
    abstract: "Start hypervisors ahead for VMs of an image, as many as the configuration's warmPool.size.",
    discussion: """
      Each start from a template does so by itself, in the background, for its kind. What waits serves `ignite run` only, \
      and ends by itself after warmPool.keepIdle.
      """, helpNames: .long)

  @OptionGroup var global: GlobalOptions
  @OptionGroup var resources: ResourceOptions

  @Option(help: ArgumentHelp("For the image's commands, or for its own init: process or machine.", valueName: "mode"))
  var boot: String = "process"

  /// Started by another command: says nothing.
  @Flag(help: .hidden)
  var background = false

  @Argument(help: "An image that is here.", completion: .images)
  var image: String

  func run() async throws {
    let request = try resources.template(boot: boot)
    let count = try await Interrupts.run { _ in
      try await global.engine().fillWarmPool(
        request, image: image, notify: background ? { _ in } : CommandLineTool.say)
    }
    guard !background else { return }
    guard let count else {
      throw EngineError(.wrongState, "the warm pool is being filled by another command", advice: "try again")
    }
    Output.line("\(count)")
  }
}

extension ResourceOptions {
  /// The kind of VM as a template is made for it.
  func template(boot: String) throws -> TemplateRequest {
    let wanted = try resources()
    var request = TemplateRequest()
    request.kernel = kernel
    request.cpus = wanted.cpus
    request.memoryBytes = wanted.memory.bytes
    request.diskBytes = wanted.disk.bytes
    request.accelerator = try accelerator()
    request.isMachine = try CreateOptions.choice(boot, "--boot", [BootMode.process, .machine]) == .machine
    return request
  }
}
