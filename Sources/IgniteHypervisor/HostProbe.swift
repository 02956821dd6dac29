internal import Glibc
public import IgniteSystem

/// What a host can and cannot do as a home of VMs, for `ignite doctor`.
public enum HostProbe {
  /// All checks but the network's, which passt's module makes. Blocking, some 100 ms.
  public static func checks(dataDirectory: String) -> [HostCheck] {
    [
      qemu(), kvm(), isolation(), timestampCounter(), cgroups(), user(), memory(), disk(dataDirectory), packages(),
    ]
  }

  static func qemu() -> HostCheck {
    do {
      let hypervisor = try QEMUHypervisor()
      return HostCheck("qemu", .ok, "QEMU \(try hypervisor.version()) (\(hypervisor.program))")
    } catch {
      return HostCheck("qemu", .failed, error.message, advice: error.advice)
    }
  }

  static func kvm() -> HostCheck {
    switch KVMProbe.look() {
    case .usable: HostCheck("kvm", .ok, "hardware virtualization")
    case .unusable(let reason, let advice):
      HostCheck("kvm", .warning, "\(reason); VMs are emulated, some ten times slower", advice: advice)
    }
  }

  static func isolation() -> HostCheck {
    let root = getuid() == 0
    guard case .usable = KVMProbe.look() else {
      return HostCheck(
        "isolation", .warning,
        "QEMU calls its emulation no security boundary; "
          + (root ? "its process has a user, root and cgroup of its own" : "its process has this user's rights"),
        advice: "do not run what you do not trust")
    }
    return HostCheck(
      "isolation", .ok,
      root ? "each VM has a user, root and cgroup of its own" : "each VM's process has this user's rights, and no more")
  }

  static func timestampCounter() -> HostCheck {
    guard let first = TimestampCounter.measure(), let second = TimestampCounter.measure() else {
      return HostCheck(
        "clock", .failed, "the processor has no time-stamp counter that can be measured; emulated guests need it")
    }
    let difference = first > second ? first - second : second - first
    let shown = "\(first / 1000) MHz"
    if difference > first / 1000 {
      return HostCheck(
        "clock", .warning, "the time-stamp counter's rate changes (\(shown)); clocks of emulated guests drift")
    }
    let flags = HostHardware.processorField("flags")?.split(separator: " ") ?? []
    if !flags.isEmpty, !flags.contains("constant_tsc") {
      return HostCheck("clock", .warning, "the time-stamp counter (\(shown)) may follow the processor's frequency")
    }
    return HostCheck("clock", .ok, "the time-stamp counter runs at \(shown)")
  }

  static func cgroups() -> HostCheck {
    guard let path = Cgroup.hierarchy() else {
      return HostCheck(
        "cgroup", .warning, "no cgroup v2 hierarchy is mounted; VMs run without a cgroup", advice: "mount cgroup2")
    }
    if getuid() != 0 {
      return HostCheck(
        "cgroup", .ok,
        "cgroup v2 at \(path); VMs of this user stay in its own"
          + (Cgroup.reasonForNone().map { "; no limits: \($0)" } ?? ""))
    }
    guard access(path, W_OK) == 0 else {
      return HostCheck("cgroup", .warning, "cgroup v2 at \(path) cannot be written; VMs run without a cgroup")
    }
    return HostCheck("cgroup", .ok, "cgroup v2 at \(path)")
  }

  static func user() -> HostCheck {
    getuid() == 0
      ? HostCheck("user", .ok, "root: each VM's processes get a user of their own, without capabilities")
      : HostCheck("user", .ok, "user \(getuid()): VMs run with this user's rights")
  }

  static func memory() -> HostCheck {
    let text = HostHardware.text(of: "/proc/meminfo") ?? ""
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ UInt64($0) })
    else { return HostCheck("memory", .warning, "/proc/meminfo does not say how much memory is available") }
    let mebibytes = kilobytes / 1024
    return mebibytes < 1024
      ? HostCheck(
        "memory", .warning, "\(mebibytes) MiB are available; a VM has 512 MiB by default",
        advice: "run VMs with -m 256m")
      : HostCheck("memory", .ok, "\(mebibytes) MiB are available")
  }

  /// The file system of the data directory, or of the nearest directory above that exists.
  static func disk(_ directory: String) -> HostCheck {
    var path = directory
    var info = statvfs()
    while statvfs(path, &info) != 0 {
      guard let slash = path.lastIndex(of: "/"), path != "/" else {
        return HostCheck("disk", .failed, "\(directory) is on no file system that can be asked")
      }
      path = slash == path.startIndex ? "/" : String(path[..<slash])
    }
    let mebibytes = UInt64(info.f_bavail).multipliedReportingOverflow(by: UInt64(info.f_frsize)).partialValue >> 20
    let shown = mebibytes >= 10_240 ? "\(mebibytes >> 10) GiB" : "\(mebibytes) MiB"
    if mebibytes < 1024 {
      return HostCheck(
        "disk", .warning, "\(shown) are free at \(directory)", advice: "choose another place with --data-dir")
    }
    return HostCheck("disk", .ok, "\(shown) are free at \(directory)")
  }

  /// Kernels come as Debian packages.
  static func packages() -> HostCheck {
    let paths = ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"]
    if paths.allSatisfy({ access($0, X_OK) == 0 }) { return HostCheck("apt", .ok, "apt fetches kernel packages") }
    return HostCheck(
      "apt", .warning, "there is no apt here to fetch a kernel with",
      advice: "download Debian's linux-image-cloud-amd64 and import the file")
  }
}
