internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

/// What a VM's machine is made of; shared by what makes VMs and what makes templates of them.
struct ResourceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Virtual processors; with a fraction, so much of the host's time at most.", valueName: "count"))
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
      // A machine has whole processors.
      resources.cpus = (try LimitOptions.millis(cpus) + 999) / 1000
    }
    if let memory { resources.memory = try Self.size(memory, "-m") }
    if let diskSize { resources.disk = try Self.size(diskSize, "-s") }
    return resources
  }

  /// Thousandths of a processor that a fraction of `--cpus` means; nil for whole ones.
  func cpuMillis() throws -> Int? {
    guard let cpus else { return nil }
    let millis = try LimitOptions.millis(cpus)
    return millis % 1000 == 0 ? nil : millis
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
