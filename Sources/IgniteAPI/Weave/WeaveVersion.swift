/// The versions of the API that Weave Ignite had in manifests.
enum WeaveVersion: String, CaseIterable, Sendable {
  case v1alpha2, v1alpha3, v1alpha4

  init?(apiVersion: String) {
    guard let version = Self.allCases.first(where: { $0.apiVersion == apiVersion }) else { return nil }
    self = version
  }

  var apiVersion: String { "\(APIVersion.group)/\(rawValue)" }

  /// The kinds that it had; a Configuration came with v1alpha3.
  var kinds: [WeaveKind] { self == .v1alpha2 ? WeaveKind.allCases.filter { $0 != .configuration } : WeaveKind.allCases }

  var kindNames: [String] { kinds.map(\.rawValue) }
}

enum WeaveKind: String, CaseIterable, Sendable {
  case vm = "VM"
  case image = "Image"
  case kernel = "Kernel"
  case pool = "Pool"
  case configuration = "Configuration"
}

/// What Weave Ignite filled in where a VM's manifest was silent (pkg/constants/vm.go).
enum WeaveDefaults {
  static let kernelArguments = "console=ttyS0 reboot=k panic=1 pci=off ip=dhcp"
}

/// Annotations that Weave Ignite took orders from.
enum WeaveAnnotation {
  /// `…/interface/NAME`: another network card.
  static let interface = "\(APIVersion.group)/interface/"
  /// `…/sandbox-env/NAME`: a variable of the container that held the hypervisor.
  static let sandboxVariable = "\(APIVersion.group)/sandbox-env/"
}
