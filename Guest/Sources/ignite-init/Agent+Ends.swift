import CGuest
import IgniteWire

extension Agent {
  /// Waits for children that have ended; as PID 1, for everybody's.
  func reap() {
    var code: Int32 = 0
    var signal: Int32 = 0
    while true {
      let pid = guest_reap(&code, &signal)
      guard pid > 0 else { return }
      guard let process = processes.first(where: { $0.pid == pid && $0.status == nil }) else { continue }
      process.ended(ExitStatus(code: UInt64(code), signal: UInt64(signal)))
      guard process.isMain else { continue }
      lastProgress = process.endedAt
      // As a container's: with the main process all others end, and so do the outputs that they hold.
      _ = guest_kill(-1, SIGKILL)
    }
  }

  /// What time has decided: outputs that are not waited for any longer, and the machine's end.
  func expire() {
    let now = guest_monotonic()
    if Network.isUnfinished, let startedAt, now >= startedAt + Self.finishDelay { Network.finish() }
    for process in processes where process.status != nil && !process.exitSent {
      guard now >= process.endedAt + Self.outputGrace else { continue }
      for output in process.outputs { output.expired = true }
    }
    guard let main, let status = main.status, now >= lastProgress + Self.acknowledgeGrace else { return }
    powerOff(status)
  }

  /// Milliseconds to the next of these; -1 without one.
  func timeout() -> Int32 {
    var next: UInt64?
    for process in processes where process.status != nil {
      var deadline = process.endedAt + Self.outputGrace
      // When they have expired, only the host's credit brings the outputs on.
      if process.exitSent || process.outputs.allSatisfy({ $0.expired }) {
        guard process.isMain else { continue }
        deadline = lastProgress + Self.acknowledgeGrace
      }
      next = min(next ?? deadline, deadline)
    }
    if Network.isUnfinished, let startedAt {
      next = min(next ?? startedAt + Self.finishDelay, startedAt + Self.finishDelay)
    }
    guard let next else { return -1 }
    let now = guest_monotonic()
    return next > now ? Int32(clamping: (next - now) / 1_000_000 + 1) : 0
  }

  /// The main process's exit is known to the host, or will never be.
  func powerOff(_ status: ExitStatus) -> Never {
    Console.log("main ended with status \(status.shellStatus)")
    PowerOff.now()
  }
}
