internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteSystem

extension LaunchPlan {
  /// The template of a start: the one that it thaws, or how to have one made for later starts.
  struct Template: Sendable {
    var opened: OpenedTemplate?
    var key: TemplateKey
    var request: TemplateRequest
    /// A spare was thawed from it.
    var isOfSpare = false

    var isThawed: Bool { opened != nil || isOfSpare }

    private init(opened: OpenedTemplate?, key: TemplateKey, request: TemplateRequest) {
      self.opened = opened
      self.key = key
      self.request = request
    }

    init?(_ kind: SpareKind, _ shape: MachineShape) {
      guard let key = TemplateKey(kind.template) else { return nil }
      self.init(opened: nil, key: key, request: TemplateRequest(shape))
      isOfSpare = true
    }

    /// nil where templates are turned off, or cannot be had. No failure with a template fails a start.
    static func find(
      _ shape: MachineShape, vm: VM, engine: Engine, notify: Engine.Notify
    ) async throws -> Template? {
      guard engine.configuration.templates.enabled else { return nil }
      let cache = engine.installationCache
      guard let hypervisor = try? QEMUHypervisor(),
        let identity = try? await ThreadExecutor.run({ () throws(HypervisorError) in
          try shape.identity(hypervisor, cache: cache)
        })
      else { return nil }
      let store = engine.templates
      let program = try Installation.executable()
      // Of what goes wrong with a template one line is said, and the VM starts cold.
      let (opened, said) = await ThreadExecutor.run { () -> (OpenedTemplate?, String?) in
        var said: String?
        do throws(HypervisorError) {
          let opened = try store.open(identity, keeper: program) {
            said = "the template \(identity.key.short) was dropped: \($0)"
          }
          return (opened, said)
        } catch {
          return (nil, "the template \(identity.key.short) is not used: \(error.message)")
        }
      }
      if let said { notify(said) }
      return Template(opened: opened, key: identity.key, request: TemplateRequest(shape))
    }
  }
}

extension TemplateRequest {
  init(_ shape: MachineShape) {
    self.init()
    kernel = shape.kernel.name
    cpus = shape.cpus
    memoryBytes = shape.memoryBytes
    diskBytes = shape.diskBytes
    baseBytes = shape.baseBytes
    isMachine = !shape.kernelArguments.isEmpty
    accelerator = shape.accelerator.accelerator.rawValue
    volumes = shape.volumes.map(\.text)
    reclaimsMemory = shape.reclaimsMemory
  }
}
