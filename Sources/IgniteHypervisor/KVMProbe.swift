internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// Whether KVM can run a guest here.
///
/// `/dev/kvm` that opens proves nothing: a provider without hardware virtualization behind it (`kvm_pvm`) makes
/// machines in which an ordinary Linux breaks at its first system call. So the provider's module is looked at too.
public enum KVMProbe: Sendable, Equatable {
  case usable
  case unusable(reason: String, advice: String?)

  private struct Cached: Codable {
    var boot: String
    var user: UInt32
    var reason: String?
    var advice: String?
  }

  /// The answer for this boot and user, from the cache file where it is there. Blocking.
  public static func look(cache path: String) -> KVMProbe {
    let boot = HostHardware.bootID() ?? ""
    if let data = HostHardware.text(of: path, limit: 4096)?.data(using: .utf8),
      let cached = try? JSONDecoder().decode(Cached.self, from: data), cached.boot == boot, !boot.isEmpty,
      cached.user == getuid()
    {
      return cached.reason.map { .unusable(reason: $0, advice: cached.advice) } ?? .usable
    }
    let probe = look()
    var cached = Cached(boot: boot, user: getuid())
    if case .unusable(let reason, let advice) = probe { (cached.reason, cached.advice) = (reason, advice) }
    if let data = try? JSONEncoder().encode(cached) { HostCache.write(Array(data), to: path) }
    return probe
  }

  /// Asks the device and looks at the provider. Blocking.
  public static func look() -> KVMProbe {
    let probe = verdict(HostHardware.probeKVM()) { access("/sys/module/\($0)", F_OK) == 0 }
    var info = stat()
    // Started by root, a VM's processes are another user, in the device's group.
    if probe == .usable, getuid() == 0, stat("/dev/kvm", &info) == 0,
      info.st_mode & 0o006 != 0o006, info.st_gid == 0 || info.st_mode & 0o060 != 0o060
    {
      return .unusable(
        reason: "/dev/kvm is for root only, and VMs run as users of their own",
        advice: "run: chgrp kvm /dev/kvm && chmod 660 /dev/kvm")
    }
    return probe
  }

  static func verdict(_ device: HostHardware.KVMDevice, hasModule: (String) -> Bool) -> KVMProbe {
    switch device {
    case .unavailable(let code) where code == ENOENT:
      return .unusable(
        reason: "there is no /dev/kvm",
        advice: "turn virtualization on in the firmware, or load kvm_intel or kvm_amd")
    case .unavailable(let code) where code == EACCES:
      return .unusable(reason: "this user may not open /dev/kvm", advice: "add the user to the group kvm")
    case .unavailable(let code):
      return .unusable(reason: "/dev/kvm does not open: \(SystemError.text(of: code))", advice: nil)
    case .answers(let version, _) where version != 12:
      return .unusable(reason: "/dev/kvm speaks version \(version) of its interface, not 12", advice: nil)
    case .answers(_, let creates) where !creates:
      return .unusable(reason: "/dev/kvm refuses to make a machine", advice: nil)
    case .answers:
      // Built into the kernel, the modules are listed too, once they have parameters, as these do.
      if hasModule("kvm_pvm"), !hasModule("kvm_intel"), !hasModule("kvm_amd") {
        return .unusable(
          reason: "its provider is kvm_pvm, under which an ordinary Linux kernel does not run", advice: nil)
      }
      return .usable
    }
  }
}
