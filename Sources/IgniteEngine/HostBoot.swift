internal import FoundationEssentials

/// The host's boot.
enum HostBoot {
  /// Another at each boot (random(4), /proc/sys/kernel/random/boot_id); nil where it cannot be read.
  static let id: String? = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8))
    .map { String($0.prefix(36)) }
}
