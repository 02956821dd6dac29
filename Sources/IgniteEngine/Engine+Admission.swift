internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteHypervisor
internal import IgniteStore
internal import IgniteSystem

extension Engine {
  /// Refuses a VM whose memory, with that of all that run, is more than the host has: what does not fit makes the host end
  /// processes at random, long after the start.
  func admit(_ vm: VM) async throws {
    guard !configuration.resources.overcommit, let host = Self.hostMemory else { return }
    let wanted = vm.spec.resources.memory.bytes
    var running: UInt64 = 0
    var count = 0
    for object in try await store.list(kind: VM.kind) where object.uid != vm.metadata.uid {
      let other = try Self.vm(of: object)
      guard other.status.phase.isActive, FileLock.isHeld(paths.vmLock(other.metadata.uid)) else { continue }
      running += other.spec.resources.memory.bytes
      count += 1
    }
    guard running + wanted > host else { return }
    let others =
      count == 0
      ? "" : ", and \(count == 1 ? "1 VM that runs has" : "\(count) VMs that run have") \(Self.text(running)) of them"
    throw EngineError(
      .unavailable,
      "the VM \"\(vm.metadata.name)\" of \(Self.text(wanted)) does not fit: the host has \(Self.text(host))\(others)",
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
