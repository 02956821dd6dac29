internal import Glibc
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

  /// Where a machine's files are, as its hypervisor sees them.
  struct Files: Sendable {
    var vmlinux: String
    var initrd: String
    var modules: String?
    var base: String
    var disk: String
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
    return MachineConfiguration(
      kernelPath: files.vmlinux, initrdPath: files.initrd, kernelArguments: kernelArguments, cpus: cpus,
      memoryBytes: memoryBytes, drives: drives, macAddress: macAddress, agentSocketPath: files.run + "/agent.sock",
      controlSocketPath: files.run + "/qmp.sock", consoleSocketPath: files.run + "/console.sock",
      accelerator: accelerator.accelerator, timestampCounterKilohertz: accelerator.timestampCounterKilohertz)
  }

  /// What has to be equal for a frozen machine to thaw as one of this shape.
  func identity(_ hypervisor: QEMUHypervisor, cache: String) throws(HypervisorError) -> TemplateIdentity {
    let files = Files(
      vmlinux: vmlinux, initrd: initrd, modules: modules, base: "base", disk: "disk", run: "run")
    var arguments = try hypervisor.frozenArguments(configuration(files, macAddress: nil), hasNetwork: true)
    arguments += ["base:\(baseBytes)", "disk:\(diskBytes)"]
    let program = try hypervisor.installation(cache: cache)
    return TemplateIdentity(
      hypervisor: hypervisor.name, version: program.version, programSize: program.size, programTime: program.time,
      kernel: kernel.digest.description, kernelName: kernel.name,
      initrd: initrd.split(separator: "/").last.map(String.init) ?? "", arguments: arguments,
      processor: accelerator.accelerator == .kvm ? HostHardware.processorIdentity : "", cpus: cpus,
      memoryBytes: memoryBytes)
  }
}
