internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteStore
internal import IgniteSystem

extension Engine {
  /// Refuses a VM whose memory, with that of all that run, is more than the host has: what does not fit makes the host end
  /// processes at random, long after the start.
  func admit(_ vm: VM) async throws {
    // What has no machine has no memory.
    guard driver == .qemu, !configuration.resources.overcommit, let host = Self.hostMemory else { return }
    let wanted = vm.spec.resources.memory.bytes
    var running: UInt64 = 0
    var count = 0
    let others = try await store.columns(
      kind: VM.kind, spec: ["$.resources.memory"], status: ["$.phase", "$.hypervisor"])
    for other in others where other.uid != vm.metadata.uid && !Self.isNothing(hypervisor: other.values[2]) {
      guard let phase = other.values[1].flatMap(VMPhase.init(rawValue:)), phase.isActive,
        let memory = other.values[0].flatMap(ByteQuantity.init(manifest:)), FileLock.isHeld(paths.vmLock(other.uid))
      else { continue }
      running += memory.bytes
      count += 1
    }
    guard running + wanted > host else { return }
    let reason =
      count == 0
      ? "" : ", and \(count == 1 ? "1 VM that runs has" : "\(count) VMs that run have") \(Self.text(running)) of them"
    throw EngineError(
      .unavailable,
      "the VM \"\(vm.metadata.name)\" of \(Self.text(wanted)) does not fit: the host has \(Self.text(host))\(reason)",
      advice: "stop some, give it less (-m), or set resources.overcommit: true in the configuration")
  }

  private static func text(_ bytes: UInt64) -> String { ByteQuantity(bytes: bytes).rounded }

  /// proc(5), meminfo; in bytes.
  private static var hostMemory: UInt64? {
    guard let text = HostHardware.text(of: "/proc/meminfo", limit: 1 << 16) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("MemTotal:") {
      return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 << 10 }
    }
    return nil
  }
}
