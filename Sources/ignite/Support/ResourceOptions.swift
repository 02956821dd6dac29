internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

/// What a VM's machine is made of; shared by what makes VMs and what makes templates of them.
struct ResourceOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Virtual processors, a whole number.", valueName: "count"))
  var cpus: String?

  @Option(
    name: [.customShort("m"), .customLong("memory")], help: ArgumentHelp("Memory, as 512m or 2g.", valueName: "size"))
  var memory: String?

  @Option(
    name: [.customShort("s"), .customLong("size")],
    help: ArgumentHelp("Size of the VM's disk, as 4g.", valueName: "size"))
  var diskSize: String?

  @Option(
    name: [.customShort("k"), .customLong("kernel-image")],
    help: ArgumentHelp("An imported kernel; the default one when it is absent.", valueName: "kernel"),
    completion: .kernels)
  var kernel: String?

  @Option(help: ArgumentHelp("Run on kvm or tcg (emulation); auto takes what the host can do.", valueName: "which"))
  var accel: String = "auto"

  func resources() throws -> VMSpec.Resources {
    var resources = VMSpec.Resources()
    if let cpus {
      guard let count = Int(cpus) else {
        throw EngineError(
          .invalidArgument, "--cpus \(cpus) is no whole number", advice: "a VM has whole processors: --cpus 1")
      }
      resources.cpus = count
    }
    if let memory { resources.memory = try Self.size(memory, "-m") }
    if let diskSize { resources.disk = try Self.size(diskSize, "-s") }
    return resources
  }

  /// nil for what the host can do.
  func accelerator() throws -> String? {
    guard ["auto", "kvm", "tcg"].contains(accel) else {
      throw EngineError(.invalidArgument, "--accel \(accel) is not possible", advice: "write auto, kvm or tcg")
    }
    return accel == "auto" ? nil : accel
  }

  private static func size(_ text: String, _ flag: String) throws -> ByteQuantity {
    guard let size = ByteQuantity(commandLine: text) else {
      throw EngineError(.invalidArgument, "\(flag) \(text) is no size", advice: "write it as 512m, 2g or 1GiB")
    }
    return size
  }
}
