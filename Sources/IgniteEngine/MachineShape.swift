internal import Glibc
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

/// What of a VM's machine a template of it has in common: all but the disks' contents, the network and the names.
struct MachineShape: Sendable {
  var kernel: ImportedKernel
  /// Paths on the host.
  var vmlinux: String
  var initrd: String
  var modules: String?
  var kernelArguments: [String]
  var cpus: Int
  var memoryBytes: UInt64
  /// Sizes of the drives in bytes.
  var baseBytes: UInt64
  var diskBytes: UInt64
  var accelerator: AcceleratorChoice
  /// What the guest frees is given back to the host.
  var reclaimsMemory = false
  /// Further disks, in their order.
  var volumes: [Volume] = []

  /// Sockets of the daemons of the host's directories.
  var shares: [String] = []

  /// A volume as a device.
  struct Volume: Sendable, Equatable {
    var bytes: UInt64
    var readOnly: Bool
  }

  /// Base disk, own disk and modules aside, what QEMU's machine has places for.
  static let mostVolumes = 17
  /// The numbers that the volumes' descriptors have in the supervisor and in its hypervisor, one after the other.
  static let firstVolumePlace: Int32 = 16

  /// Where a machine's files are, as its hypervisor sees them.
  struct Files: Sendable {
    var vmlinux: String
    var initrd: String
    var modules: String?
    var base: String
    var disk: String
    /// Stand-ins for volumes; nil where their files are inherited.
    var volumes: [String]?
    /// The directory of its sockets.
    var run: String
  }

  func configuration(_ files: Files, macAddress: String?) -> MachineConfiguration {
    var drives = [
      MachineConfiguration.Drive(id: "base", path: files.base, readOnly: true),
      MachineConfiguration.Drive(id: "disk", path: files.disk, readOnly: false),
    ]
    if let modules = files.modules {
      drives.append(MachineConfiguration.Drive(id: "modules", path: modules, readOnly: true))
    }
    for (index, volume) in volumes.enumerated() {
      var drive = MachineConfiguration.Drive(id: "volume\(index)", path: "", readOnly: volume.readOnly)
      if let paths = files.volumes {
        drive.path = paths[index]
      } else {
        drive.descriptor = Self.firstVolumePlace + Int32(index)
      }
      drives.append(drive)
    }
    var machine = MachineConfiguration(
      kernelPath: files.vmlinux, initrdPath: files.initrd, kernelArguments: kernelArguments, cpus: cpus,
      memoryBytes: memoryBytes, drives: drives, macAddress: macAddress, agentSocketPath: files.run + "/agent.sock",
      controlSocketPath: files.run + "/qmp.sock", consoleSocketPath: files.run + "/console.sock",
      accelerator: accelerator.accelerator, timestampCounterKilohertz: accelerator.timestampCounterKilohertz)
    machine.reclaimsMemory = reclaimsMemory ? true : nil
    if !shares.isEmpty {
      machine.shares = shares.enumerated().map { index, path in
        MachineConfiguration.Share(tag: "share\(index)", socketPath: path)
      }
    }
    return machine
  }

  /// What has to be equal for a frozen machine to thaw as one of this shape.
  func identity(_ hypervisor: QEMUHypervisor, cache: String) throws(HypervisorError) -> TemplateIdentity {
    let files = Files(
      vmlinux: vmlinux, initrd: initrd, modules: modules, base: "base", disk: "disk",
      volumes: volumes.map { _ in "volume" }, run: "run")
    var arguments = try hypervisor.frozenArguments(configuration(files, macAddress: nil), hasNetwork: true)
    arguments += ["base:\(baseBytes)", "disk:\(diskBytes)"] + volumes.map { "volume:\($0.bytes)" }
    let program = try hypervisor.installation(cache: cache)
    return TemplateIdentity(
      hypervisor: hypervisor.name, version: program.version, programSize: program.size, programTime: program.time,
      kernel: kernel.digest.description, kernelName: kernel.name,
      initrd: initrd.split(separator: "/").last.map(String.init) ?? "", arguments: arguments,
      processor: accelerator.accelerator == .kvm ? HostHardware.processorIdentity : "", cpus: cpus,
      memoryBytes: memoryBytes)
  }
}

extension MachineShape.Volume {
  /// As a command line has it: a size, with `:ro` for one that is not written to.
  init(text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
    guard let size = ByteQuantity(commandLine: parts.first ?? ""), size.bytes >= 512, size.bytes <= 1 << 46,
      parts.count == 1 || parts[1] == "ro"
    else {
      throw EngineError(.invalidArgument, "--volume \(text) is no disk", advice: "write it as 10g or 10g:ro")
    }
    self.init(bytes: size.bytes, readOnly: parts.count == 2)
  }

  var text: String { "\(bytes)\(readOnly ? ":ro" : "")" }
}
