internal import CIgniteSystem
internal import Glibc

/// What the host's processor and kernel say of themselves, where Swift cannot ask by itself.
public enum HostHardware {
  /// The processor's time-stamp counter; 0 on a machine without one.
  public static func timestampCounter() -> UInt64 { ignite_timestamp_counter() }

  /// Nanoseconds of CLOCK_MONOTONIC_RAW, which no clock discipline bends.
  public static func rawNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC_RAW, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
  }

  /// What a KVM device answers.
  public enum KVMDevice: Sendable, Equatable {
    /// It cannot be opened, or is no KVM device, and why.
    case unavailable(errno: Int32)
    /// Its API version, and whether it makes virtual machines.
    case answers(version: Int32, createsMachines: Bool)
  }

  /// Opens the device and makes an empty machine, which is gone at once. Blocking.
  public static func probeKVM(_ path: String = "/dev/kvm") -> KVMDevice {
    var created: Int32 = 0
    let version = ignite_kvm_probe(path, &created)
    return version < 0 ? .unavailable(errno: errno) : .answers(version: version, createsMachines: created != 0)
  }

  /// This boot of the host: what is cached under it does not outlive a change of kernel or modules.
  public static func bootID() -> String? {
    (try? readSmallFile("/proc/sys/kernel/random/boot_id", limit: 64))?.split(separator: "\n").first.map(String.init)
  }

  /// A field of the first processor in /proc/cpuinfo, as `model name`.
  public static func processorField(_ name: String) -> String? {
    guard let text = try? readSmallFile("/proc/cpuinfo", limit: 16 << 10) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let key = line[..<colon].split(whereSeparator: { $0 == " " || $0 == "\t" }).joined(separator: " ")
      if key == name { return String(line[line.index(after: colon)...].drop { $0 == " " }) }
    }
    return nil
  }

  /// A small file of /proc or /sys as text; nil where it cannot be read. At most `limit` bytes. Blocking.
  public static func text(of path: String, limit: Int = 64 << 10) -> String? {
    try? readSmallFile(path, limit: limit)
  }
}
