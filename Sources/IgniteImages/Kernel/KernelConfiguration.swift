/// A kernel's build configuration, the file `/boot/config-VERSION` (Documentation/kbuild/kconfig-language.rst).
struct KernelConfiguration: Sendable {
  static let sizeLimit = 4 << 20

  private var values: [String: String] = [:]
  /// The file's bytes.
  let text: [UInt8]

  init(_ text: [UInt8]) {
    self.text = text
    for line in text.split(separator: UInt8(ascii: "\n")) {
      guard line.starts(with: Array("CONFIG_".utf8)), let equals = line.firstIndex(of: UInt8(ascii: "=")) else {
        continue
      }
      let name = String(decoding: line[..<equals].dropFirst(7), as: UTF8.self)
      values[name] = String(decoding: line[line.index(after: equals)...], as: UTF8.self)
    }
  }

  /// Whether an option is built in.
  func isBuiltIn(_ option: String) -> Bool { values[option] == "y" }
  /// Whether an option is built in or a module.
  func has(_ option: String) -> Bool { values[option] == "y" || values[option] == "m" }
}

/// What a driver must know of a kernel before it starts it, from the kernel's build configuration.
public struct KernelFacts: Sendable, Hashable, Codable {
  /// CONFIG_ACPI: virtio-mmio devices are found through ACPI tables.
  public var hasACPI: Bool
  /// CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES: virtio-mmio devices may be told on the kernel's command line.
  public var hasVirtioMMIOCommandLine: Bool
  /// CONFIG_SMP: more than one vCPU is of use.
  public var hasSMP: Bool
  /// Whether virtio, its mmio transport, block and network drivers are part of the kernel itself, so that they have bound
  /// to their devices before init runs.
  public var virtioBuiltIn: Bool
  /// CONFIG_OVERLAY_FS, built in or module; without it the root is a flat copy of the base disk.
  public var hasOverlay: Bool
  /// CONFIG_VMGENID: the kernel reseeds its random numbers itself when a snapshot is resumed.
  public var hasVMGenID: Bool
  /// CONFIG_VIRTIO_VSOCKETS, built in or module.
  public var hasVsock: Bool
  /// CONFIG_VIRTIO_FS, built in or module.
  public var hasVirtioFS: Bool
  /// CONFIG_PCI and CONFIG_VIRTIO_PCI, built in or module.
  public var hasVirtioPCI: Bool

  init(_ configuration: KernelConfiguration) {
    hasACPI = configuration.isBuiltIn("ACPI")
    hasVirtioMMIOCommandLine = configuration.isBuiltIn("VIRTIO_MMIO_CMDLINE_DEVICES")
    hasSMP = configuration.isBuiltIn("SMP")
    virtioBuiltIn = ["VIRTIO", "VIRTIO_MMIO", "VIRTIO_BLK", "VIRTIO_NET"].allSatisfy(configuration.isBuiltIn)
    hasOverlay = configuration.has("OVERLAY_FS")
    hasVMGenID = configuration.has("VMGENID")
    hasVsock = configuration.has("VIRTIO_VSOCKETS")
    hasVirtioFS = configuration.has("VIRTIO_FS")
    hasVirtioPCI = configuration.isBuiltIn("PCI") && configuration.has("VIRTIO_PCI")
  }

  /// What modules and strings tell of a kernel whose configuration is not known.
  init(_ tree: ModuleTree, _ scan: KernelScan?) {
    func has(_ name: String) -> Bool { tree.isBuiltin(name) || tree[name] != nil }
    hasACPI =
      scan?.findsDevicesByACPI == true || tree["virtio_mmio"]?.aliases.contains { $0.contains("LNRO0005") } == true
    hasVirtioMMIOCommandLine = scan?.takesDevicesByCommandLine == true
    hasSMP = scan?.hasSMP == true
    virtioBuiltIn = ["virtio", "virtio_mmio", "virtio_blk", "virtio_net"].allSatisfy(tree.isBuiltin)
    hasOverlay = has("overlay")
    hasVMGenID = has("vmgenid")
    hasVsock = has("vmw_vsock_virtio_transport")
    hasVirtioFS = has("virtiofs")
    hasVirtioPCI = has("virtio_pci")
  }
}
