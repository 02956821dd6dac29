internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

/// Docker's flags for what a VM has mounted.
struct VolumeOptions: ParsableArguments {
  @Option(
    name: [.customShort("v"), .customLong("volume")], parsing: .singleValue,
    help: ArgumentHelp(
      "Mount a volume, or a directory or block device of the host.", valueName: "[SOURCE:]PATH[:ro]"))
  var volumes: [String] = []

  @Option(
    name: .customLong("mount"), parsing: .singleValue,
    help: ArgumentHelp(
      "The same in words: type=volume|bind|block|tmpfs,source=…,target=…[,readonly].", valueName: "fields"))
  var mounts: [String] = []

  @Option(
    name: .customLong("tmpfs"), parsing: .singleValue,
    help: ArgumentHelp("Mount a file system in the VM's memory.", valueName: "PATH[:size=64m,mode=1777,…]"))
  var temporary: [String] = []

  func all() throws -> [VolumeMount] {
    try volumes.map(VolumeText.volume) + mounts.map(VolumeText.mount) + temporary.map(VolumeText.temporary)
  }
}
