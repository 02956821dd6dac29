internal import Glibc
internal import IgniteAPI
internal import IgniteSystem

extension CgroupLimits {
  /// - Throws: EngineError for a path that is no block device's.
  init(_ limits: VMSpec.Limits) throws(EngineError) {
    self.init()
    cpuMillis = limits.cpuMillis
    cpuShares = limits.cpuShares
    ioWeight = limits.ioWeight
    for device in limits.devices ?? [] {
      var info = stat()
      guard stat(device.path, &info) == 0, info.st_mode & S_IFMT == S_IFBLK else {
        throw EngineError(
          .invalidArgument, "\(device.path) is no block device of the host", advice: "name the whole disk, as /dev/sda")
      }
      var limit = Device(major: Self.major(info.st_rdev), minor: Self.minor(info.st_rdev))
      limit.readBytes = device.readBytes?.bytes
      limit.writeBytes = device.writeBytes?.bytes
      limit.readOperations = device.readOperations
      limit.writeOperations = device.writeOperations
      devices.append(limit)
    }
  }

  /// makedev(3), as the C library packs the two.
  private static func major(_ device: dev_t) -> UInt32 {
    UInt32(truncatingIfNeeded: (device >> 8) & 0xfff | (device >> 32) & ~0xfff)
  }
  private static func minor(_ device: dev_t) -> UInt32 {
    UInt32(truncatingIfNeeded: device & 0xff | (device >> 12) & ~0xff)
  }
}

extension Engine {
  /// The limits, if this user can have them kept.
  func checked(_ limits: VMSpec.Limits) throws -> VMSpec.Limits {
    if let reason = Cgroup.reasonForNone() {
      throw EngineError(
        .unavailable, "limits of processors and disks are kept by cgroups: \(reason)",
        advice: "run ignite as root, or leave the limits out")
    }
    _ = try CgroupLimits(limits)
    return limits
  }

  /// Has a VM that runs go by its limits from now on.
  func applyLimits(of vm: VM) async throws {
    let limits = try vm.spec.limits.map { (limits) throws(EngineError) in try CgroupLimits(limits) } ?? CgroupLimits()
    guard let cgroup = Cgroup.find(vm.metadata.uid) else { return }
    try await ThreadExecutor.run { () throws(SystemError) in try cgroup.apply(limits) }
  }
}
