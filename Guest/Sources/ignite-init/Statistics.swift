import CGuest

/// What the kernel counts of the VM, in its own words: a line `= NAME` before each file of /proc, as `meminfo`; and the number
/// of processes that are not the kernel's.
enum Statistics {
  static func write() -> Int32 {
    var output = Bytes()
    for (name, limit) in [("meminfo", 512), ("net/dev", 8192), ("diskstats", 8192)] {
      output += Bytes(("= " + name + "\n").utf8)
      output += File.read("/proc/" + name, limit: limit) ?? []
      output.append(10)
    }
    let agent = UInt64(getppid())
    let own = UInt64(getpid())
    var count = 0
    // The kernel's threads have no arguments.
    for pid in ProcessList.pids() where pid != agent && pid != own {
      if let word = File.read("/proc/\(pid)/cmdline", limit: 16), !word.isEmpty { count += 1 }
    }
    output += Bytes("= pids\n\(count)\n".utf8)
    ProcessList.flush(&output)
    return 0
  }
}
