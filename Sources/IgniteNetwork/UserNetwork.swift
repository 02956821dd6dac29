internal import Glibc
public import IgniteSystem

/// Which user-mode network this host can give a VM.
public enum UserNetwork: Sendable, Equatable {
  /// passt, with traffic in both directions and the host's loopback closed.
  case passt(program: String)
  /// QEMU's own with `restrict=on`: published ports only. `reason` says why passt is not used.
  case restricted(reason: String, advice: String)

  /// Looks at what passt needs, without starting it. Blocking, below a millisecond.
  public static func choose() -> UserNetwork {
    guard let program = PasstSettings.find() else {
      return .restricted(reason: "passt is not installed", advice: "install passt")
    }
    if let route = HostHardware.text(of: "/proc/net/route", limit: 1 << 20), !hasDefaultRoute(route) {
      return .restricted(
        reason: "the host has no interface with an IPv4 default route, which passt needs",
        advice: "add a default route, or go without a network that reaches out")
    }
    if HostHardware.text(of: "/proc/sys/user/max_user_namespaces", limit: 64)?.hasPrefix("0\n") == true {
      return .restricted(
        reason: "user namespaces are off, which passt confines itself by",
        advice: "set the sysctl user.max_user_namespaces")
    }
    if HostHardware.text(of: "/proc/sys/kernel/unprivileged_userns_clone", limit: 64)?.hasPrefix("0\n") == true {
      return .restricted(
        reason: "user namespaces are for root only, and passt confines itself by them",
        advice: "set the sysctl kernel.unprivileged_userns_clone=1")
    }
    return .passt(program: program)
  }

  /// /proc/net/route: a line a route; destination and mask zero, and the flag UP (1).
  static func hasDefaultRoute(_ table: String) -> Bool {
    table.split(separator: "\n").dropFirst().contains { line in
      let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
      guard fields.count > 7, let flags = UInt32(fields[3], radix: 16) else { return false }
      return fields[1] == "00000000" && fields[7] == "00000000" && flags & 1 != 0
    }
  }

  /// For `ignite doctor`: starts passt for a moment.
  public static func check(loop: EventLoop) async -> HostCheck {
    switch choose() {
    case .restricted(let reason, let advice):
      return HostCheck(
        "network", .warning, "\(reason); VMs get QEMU's own network, published ports only", advice: advice)
    case .passt(let program):
      do {
        let settings = PasstSettings(program: program)
        let isolation = getuid() == 0 ? settings.isolation(uid: 65_534) : nil
        let started = try await NetworkProcess.start(settings, loop: loop, isolation: isolation)
        await started.process.end()
        return HostCheck("network", .ok, "passt (\(program)); the host's loopback is closed to guests")
      } catch {
        return HostCheck("network", .warning, error.message, advice: error.advice)
      }
    }
  }
}

func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }
