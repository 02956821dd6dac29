import CGuest

/// The processes of the VM, from /proc: what `ps` would say, without one in the image.
///
/// First a line of `seconds since 1970, seconds since boot, ticks a second`; then a line a process: pid, parent, user,
/// processors' time in ticks, start in ticks after boot, terminal, command; all separated by tabs.
enum ProcessList {
  private static let kernelThread: UInt64 = 0x0020_0000

  static func write() -> Int32 {
    guard let uptime = File.read("/proc/uptime", limit: 64) else { return 2 }
    let agent = UInt64(getppid())
    let now = guest_wall_clock()
    let seconds = decimal(uptime.prefix { $0 != 46 }) ?? 0
    var output = Bytes("\(now)\t\(seconds)\t\(guest_ticks())\n".utf8)
    for process in pids() where process != agent {
      if let line = line(process) { output += line }
      if output.count > 32_768 { flush(&output) }
    }
    flush(&output)
    return 0
  }

  static func flush(_ output: inout Bytes) {
    var written = 0
    while written < output.count {
      let count = output.withUnsafeBytes { CGuest.write(1, $0.baseAddress.map { $0 + written }, $0.count - written) }
      guard count > 0 else { guest_exit(2) }
      written += count
    }
    output = []
  }

  static func pids() -> [UInt64] {
    var pids: [UInt64] = []
    for name in File.names(in: "/proc", limit: 4 << 20) {
      if let pid = decimal(name[...]) { pids.append(pid) }
    }
    pids.sort()
    return pids
  }

  /// nil for a process that has gone, for the kernel's threads, and for the agent's workers.
  private static func line(_ pid: UInt64) -> Bytes? {
    let directory = "/proc/\(pid)/"
    guard let stat = File.read(directory + "stat", limit: 4096), let open = stat.firstIndex(of: 40),
      let close = stat.lastIndex(of: 41), open < close
    else { return nil }
    let name = stat[(open + 1)..<close]
    let fields = stat[(close + 1)...].split(whereSeparator: { $0 == 32 || $0 == 10 })
    // The numbers in proc(5), less the two before the state, which is the first here.
    func field(_ number: Int) -> UInt64 { number - 3 < fields.count ? decimal(fields[number - 3]) ?? 0 : 0 }
    guard fields.count > 20, field(9) & kernelThread == 0, !name.elementsEqual("ignite-worker".utf8) else { return nil }
    let command = File.read(directory + "cmdline", limit: 4096) ?? []
    var line = Bytes("\(pid)\t\(field(4))\t".utf8)
    line += user(directory)
    line += Bytes("\t\(field(14) + field(15))\t\(field(22))\t".utf8)
    line += terminal(field(7))
    line.append(9)
    line += shown(command.isEmpty ? [91] + name + [93] : command)
    line.append(10)
    return line
  }

  /// By name where the image has one.
  private static func user(_ directory: String) -> Bytes {
    guard let status = File.read(directory + "status", limit: 8192) else { return [63] }
    for line in status.split(separator: 10) where line.starts(with: "Uid:".utf8) {
      let numbers = line.split(separator: 9)
      guard numbers.count > 2 else { break }
      // The effective one, as ps has it.
      return Users.name(of: Bytes(numbers[2])) ?? Bytes(numbers[2])
    }
    return [63]
  }

  /// By the kernel's device numbers (devices.txt).
  private static func terminal(_ number: UInt64) -> Bytes {
    let major = number >> 8 & 0xFFF
    let minor = number & 0xFF | (number >> 12 & 0xFFF00)
    switch major {
    case 136...143: return Bytes("pts/\(minor + (major - 136) << 8)".utf8)
    case 4: return Bytes((minor < 64 ? "tty\(minor)" : "ttyS\(minor - 64)").utf8)
    case 229: return Bytes("hvc\(minor)".utf8)
    case 5 where minor == 1: return Bytes("console".utf8)
    default: return [63]
    }
  }

  /// Arguments with spaces between them, and nothing in them that would break a line.
  private static func shown(_ command: Bytes) -> Bytes {
    var shown = command
    while shown.last == 0 { shown.removeLast() }
    for index in shown.indices {
      if shown[index] == 0 { shown[index] = 32 } else if shown[index] < 32 || shown[index] == 127 { shown[index] = 63 }
    }
    return shown
  }
}
