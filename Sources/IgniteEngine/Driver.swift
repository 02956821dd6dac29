internal import IgniteHypervisor

/// What runs the machines of the VMs that are started.
public enum Driver: Sendable, Equatable {
  case qemu
  /// Nothing does: there is a VM in all but its machine. It is for measuring and testing Ignite itself.
  case doesNothing

  /// The variable that chooses the driver that does nothing. Nothing else does: no flag, no configuration, no manifest.
  static let variable = "IGNITE_DRIVER"
  private static let word = "does-nothing"

  /// - Throws: EngineError for a word that names no driver.
  init(environment: [String: String]) throws {
    switch environment[Self.variable] ?? "" {
    case "": self = .qemu
    case Self.word: self = .doesNothing
    case let other:
      throw EngineError(
        .invalidArgument, "\(Self.variable)=\(other) names no driver",
        advice: "unset it; \(Self.word) starts VMs without machines, to measure Ignite itself")
    }
  }

  /// As a VM's status has it.
  var name: String {
    switch self {
    case .qemu: "QEMU"
    case .doesNothing: DoesNothingHypervisor.title
    }
  }

  /// What whoever uses it is told each time; nil where there is nothing to tell.
  public var warning: String? {
    switch self {
    case .qemu: nil
    case .doesNothing:
      "\(Self.variable)=\(Self.word): \(DoesNothingHypervisor.explanation); it is for measuring Ignite itself"
    }
  }
}

extension Engine {
  /// Whether no machine is behind a VM with that in its status, whatever it tells of itself.
  public static func isNothing(hypervisor: String?) -> Bool { hypervisor == Driver.doesNothing.name }
}
