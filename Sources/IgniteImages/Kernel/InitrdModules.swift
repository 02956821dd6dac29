/// The modules that a guest needs before its root is there; all others are loaded from the modules disk.
enum InitrdModules {
  /// One module and what it is there for.
  struct Row: Sendable {
    /// The name, as the kernel spells it.
    var name: String
    /// The option of the kernel's configuration that has it built in, or as a module.
    var option: String
    /// Whether a kernel without it, as module or built in, is of no use here.
    var required: Bool
    var reason: String
  }

  static let rows: [Row] = [
    Row(
      name: "virtio_mmio", option: "VIRTIO_MMIO", required: true, reason: "the transport of every device of a microVM"),
    Row(
      name: "virtio_console", option: "VIRTIO_CONSOLE", required: true, reason: "the agent's channel to the supervisor"),
    Row(
      name: "virtio_blk", option: "VIRTIO_BLK", required: true, reason: "base disk, overlay disk, modules disk, volumes"
    ),
    Row(name: "ext4", option: "EXT4_FS", required: true, reason: "the file system of these disks"),
    Row(
      name: "overlay", option: "OVERLAY_FS", required: false,
      reason: "the root; without it the VM gets a flat copy of the base disk"),
    Row(
      name: "virtio_net", option: "VIRTIO_NET", required: false,
      reason: "the network, configured before the process starts"),
    Row(
      name: "virtio_rng", option: "HW_RANDOM_VIRTIO", required: false,
      reason: "entropy for the first program that asks for some"),
    Row(
      name: "virtio_balloon", option: "VIRTIO_BALLOON", required: false, reason: "gives free memory back to the host"),
  ]

  /// Names of the rows and what is known to belong to them, by which one pass over a package keeps the modules that an
  /// initrd will hold. A module that is missing here costs a second pass, nothing else.
  static let likely: Set<String> = Set(rows.map(\.name)).union([
    "virtio", "virtio_ring", "failover", "net_failover", "jbd2", "mbcache", "crc16", "crc32c_generic", "libcrc32c",
    "rng_core",
  ])

  /// The modules that an initrd for this kernel holds, in the order of insertion.
  ///
  /// - Throws: `unsupported` where the kernel lacks what a microVM needs.
  static func select(from tree: ModuleTree) throws(ImageError) -> [KernelModule] {
    var names: [String] = []
    for row in rows where !tree.isBuiltin(row.name) {
      if tree[row.name] != nil {
        names.append(row.name)
        // Not in its depends, yet it finds its checksum by name: built in on Debian, a module elsewhere.
        if row.name == "ext4", tree["crc32c_generic"] != nil { names.append("crc32c_generic") }
      } else if row.required {
        throw ImageError(
          .unsupported, "the kernel lacks \(row.name), \(row.reason)",
          advice: "use another kernel, e.g. apt:linux-image-cloud-amd64")
      }
    }
    return try tree.loadOrder(for: names)
  }
}
