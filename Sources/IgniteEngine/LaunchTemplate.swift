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
      var request = TemplateRequest()
      request.kernel = shape.kernel.name
      request.cpus = shape.cpus
      request.memoryBytes = shape.memoryBytes
      request.diskBytes = shape.diskBytes
      request.baseBytes = shape.baseBytes
      request.isMachine = !shape.kernelArguments.isEmpty
      request.accelerator = shape.accelerator.accelerator.rawValue
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
      return Template(opened: opened, key: identity.key, request: request)
    }
  }
}
