internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// This process, by the names that Prometheus' client libraries have for it.
enum ProcessMetrics {
  /// Reads /proc. Blocking, for less than a millisecond.
  static func families() -> [MetricFamily] {
    var families = [
      MetricFamily(
        "process_cpu_seconds_total", .counter, help: "User and system CPU time spent, in seconds.", processorSeconds())
    ]
    if let pages = try? readSmallFile("/proc/self/statm", limit: 4096).split(separator: " ").dropFirst().first,
      let count = Double(pages)
    {
      families.append(
        MetricFamily(
          "process_resident_memory_bytes", .gauge, help: "Resident memory, in bytes.", count * Double(getpagesize())))
    }
    if let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
      families.append(
        // One is open for the look.
        MetricFamily("process_open_fds", .gauge, help: "Open file descriptors.", Double(max(0, names.count - 1))))
    }
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      families.append(
        MetricFamily(
          "process_max_fds", .gauge, help: "File descriptors that may be open at most.", Double(limit.rlim_cur)))
    }
    if let start = startTime() {
      families.append(
        MetricFamily(
          "process_start_time_seconds", .gauge, help: "When the process started, in seconds since the Unix epoch.",
          start))
    }
    return families
  }

  private static func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static func startTime() -> Double? {
    let boot = (try? readSmallFile("/proc/stat", limit: 4 << 20))?.split(separator: "\n")
      .first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
    guard let boot else { return nil }
    return boot + Double(ProcessIdentity.current.startTime) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
