import CGuest

/// The end of the machine.
enum PowerOff {
  /// The writable disk's file system, where the root lies above it; it has no path in the new root.
  nonisolated(unsafe) static var writableDisk: Int32 = -1

  /// Ends every process, leaves the file systems clean and ends the machine. Does not return.
  static func now() -> Never {
    endProcesses()
    sync()
    Volumes.leave()
    makeReadOnly()
    restart()
  }

  /// The kernel's argument reboot= decides how; QEMU's -no-reboot makes it the machine's end.
  static func restart() -> Never {
    guest_restart()
    while true { guest_sleep(1_000_000_000) }
  }

  /// SIGKILL for all but this process, and their ends awaited, two seconds at most: one may hang in the kernel.
  static func endProcesses() {
    guard guest_kill(-1, SIGKILL) == 0 else { return }
    let deadline = guest_monotonic() + 2_000_000_000
    var code: Int32 = 0
    var signal: Int32 = 0
    while guest_monotonic() < deadline {
      let process = guest_reap(&code, &signal)
      if process < 0 { return }
      if process == 0 { guest_sleep(1_000_000) }
    }
  }

  /// Read-only file systems have no journal left to replay.
  static func makeReadOnly() {
    _ = chdir("/")
    _ = guest_remount_here_read_only()
    guard writableDisk >= 0, fchdir(writableDisk) == 0 else { return }
    if guest_remount_here_read_only() != 0 {
      Console.log("the writable disk stays open: " + errorText(guest_errno()))
    }
    _ = chdir("/")
  }
}
