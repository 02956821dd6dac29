internal import IgniteSystem

/// Where the time to a VM's first output went, a line a step, on standard error.
enum TimingsReport {
  /// What the steps are, in the order in which they come.
  private static let meanings = [
    "arguments": "read the command line", "open": "open the store", "resolve": "find kernel and image",
    "spare": "take a hypervisor that waits", "store": "remember the VM", "disks": "make its disk",
    "plan": "prepare its start", "remember": "remember its start",
    "spawn": "start its supervisor", "supervisor": "the supervisor listens", "network": "start its network",
    "hypervisor": "start its hypervisor", "thaw": "thaw the template", "boot": "boot the kernel",
    "configure": "set the guest up", "process": "start its process", "first output": "wait for its output",
    "exit": "wait for its end",
  ]

  static func write() {
    let marks = Timeline.marks.sorted { $0.time < $1.time }
    guard var last = marks.first?.time, let first = marks.first else { return }
    var table = Table(["STEP", "MS", "AT", ""])
    for mark in marks where mark.step != first.step {
      table.add([
        mark.step, milliseconds(mark.time - last), milliseconds(mark.time - first.time), meanings[mark.step] ?? "",
      ])
      last = mark.time
      if mark.step == "first output" { break }
    }
    FileHandleOutput.standardError.write(table.text())
  }

  /// One digit after the point.
  private static func milliseconds(_ nanoseconds: UInt64) -> String {
    let tenths = (nanoseconds + 50_000) / 100_000
    return "\(tenths / 10).\(tenths % 10)"
  }
}
