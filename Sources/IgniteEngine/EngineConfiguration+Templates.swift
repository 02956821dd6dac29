internal import Yams

extension EngineConfiguration {
  /// What holds for templates, which VMs start from.
  public struct Templates: Codable, Sendable, Equatable {
    /// Whether VMs start from templates, and first starts make them.
    public var enabled = true
    /// Whether first starts make them; else `ignite template build` alone does.
    public var automatic = true
    /// What all templates may take of the disk, in bytes; those that were not used for longest go first.
    public var maxBytes: UInt64 = 2 << 30
    /// As root: seconds after which the process that holds a template's memory ends, when no VM has it.
    public var keepIdle: Int64 = 600
    public init() {}
  }

  /// `IGNITE_TEMPLATES`: `off`, `manual` (nothing makes them but `ignite template build`), or `automatic`.
  mutating func mergeTemplates(environment: [String: String]) throws {
    guard let mode = environment["IGNITE_TEMPLATES"], !mode.isEmpty else { return }
    guard ["off", "manual", "automatic"].contains(mode) else {
      throw EngineError(
        .invalidArgument, "IGNITE_TEMPLATES is \"\(mode)\"", advice: "set it to off, manual or automatic")
    }
    templates.enabled = mode != "off"
    templates.automatic = mode == "automatic"
  }

  mutating func mergeTemplates(_ node: Node, file: String) throws {
    for (key, value) in try Self.fields(of: node, file: file, at: "templates") {
      switch key {
      case "enabled": templates.enabled = try Self.flag(value, file, "templates.enabled")
      case "automatic": templates.automatic = try Self.flag(value, file, "templates.automatic")
      case "maxBytes": templates.maxBytes = try Self.size(value, file, "templates.maxBytes")
      case "keepIdle":
        templates.keepIdle = try Self.duration(value, file, "templates.keepIdle")
        guard templates.keepIdle > 0 else {
          throw EngineError(.invalidArgument, "\(file): templates.keepIdle is no time", advice: "write it as 10m")
        }
      default: throw Self.unknown("templates.\(key)", file, known: ["enabled", "automatic", "maxBytes", "keepIdle"])
      }
    }
  }
}
