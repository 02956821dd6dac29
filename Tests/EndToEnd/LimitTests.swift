import FoundationEssentials
import Glibc
import Testing

/// A VM's share of the host, by the cgroups that the host has: v2, or v1 where a controller is there.
@Suite(.timeLimit(.minutes(10)), .enabled(if: Ignite.isRoot, "cgroups are root's"))
struct Limits {
  private static func content(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self).trimmingSuffix() }
  }

  /// A controller's file of a VM, by its names in v2 and v1.
  private func value(_ uid: String, _ v2: String, _ v1: String) -> String? {
    let old = v1.prefix { $0 != "." }
    return Self.content("/sys/fs/cgroup/ignite/\(uid)/\(v2)")
      ?? Self.content("/sys/fs/cgroup/\(old)/ignite/\(uid)/\(v1)")
  }

  private static var hasCPU: Bool {
    content("/sys/fs/cgroup/cgroup.controllers")?.contains("cpu") == true
      || FileManager.default.fileExists(atPath: "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
  }

  @Test(.enabled(if: Limits.hasCPU, "the host has no cgroup controller for processors"))
  func processorsAreLimitedAndShared() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper("--name", "one", "--cpus", "0.5", "-c", "512")
      #expect(["50000", "50000 100000"].contains(value(uid, "cpu.max", "cpu.cfs_quota_us")))
      #expect(["512", "20"].contains(value(uid, "cpu.weight", "cpu.shares")))
      #expect(try await ignite.succeed("exec", "one", "nproc") == "1")
      // All of its processes are in it.
      let vm = try await ignite.vm("one")
      let members =
        value(uid, "cgroup.procs", "cpu.none") ?? Self.content("/sys/fs/cgroup/cpu/ignite/\(uid)/cgroup.procs")
      for pid in [vm.supervisor, vm.hypervisor] {
        #expect(members?.split(separator: "\n").contains("\(try #require(pid))") == true)
      }
      // One that wants more is held back.
      try await ignite.succeed("update", "--cpus", "0.05", "one")
      #expect(["5000", "5000 100000"].contains(value(uid, "cpu.max", "cpu.cfs_quota_us")))
      try await ignite.succeed("exec", "-d", "one", "sh", "-c", "while :; do :; done")
      func throttled() -> Int {
        let lines = value(uid, "cpu.stat", "cpu.stat")?.split(separator: "\n") ?? []
        return lines.first { $0.hasPrefix("nr_throttled ") }.flatMap { Int($0.dropFirst(13)) } ?? 0
      }
      while throttled() < 3 { try Task.checkCancellation() }
      // Lifted, and the policy of the next start as well.
      try await ignite.succeed("update", "--cpus", "1", "--cpu-shares", "0", "one")
      #expect(["-1", "max 100000"].contains(value(uid, "cpu.max", "cpu.cfs_quota_us")))
      try await ignite.succeed("update", "--cpus", "0.25", "one")
      try await ignite.succeed("restart", "-t", "1", "one")
      #expect(["25000", "25000 100000"].contains(value(uid, "cpu.max", "cpu.cfs_quota_us")))
      let more = try await ignite("update", "--cpus", "2", "one")
      #expect(more.status == 1 && more.errorText.contains("has 1 virtual processors"), "\(more.errorText)")
      try await ignite.succeed("rm", "-f", "one")
      #expect(value(uid, "cpu.max", "cpu.cfs_quota_us") == nil)
      #expect(!FileManager.default.fileExists(atPath: "/sys/fs/cgroup/cpu/ignite/\(uid)"))
    }
  }

  /// A running VM without limits is given some: its processes are moved.
  @Test(.enabled(if: Limits.hasCPU, "the host has no cgroup controller for processors"))
  func oneThatRunsIsLimited() async throws {
    try await Ignite.with { ignite in
      let uid = try await ignite.sleeper("--name", "one", "--cpus", "2")
      #expect(try await ignite.succeed("exec", "one", "nproc") == "2")
      try await ignite.succeed("update", "--cpus", "1.5", "one")
      #expect(["150000", "150000 100000"].contains(value(uid, "cpu.max", "cpu.cfs_quota_us")))
      #expect(try await ignite.succeed("exec", "one", "echo", "hi") == "hi")
    }
  }

  @Test func disksAreLimited() async throws {
    let old = FileManager.default.fileExists(atPath: "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device")
    let new = Self.content("/sys/fs/cgroup/cgroup.controllers")?.contains("io") == true
    try await Ignite.with { ignite in
      let image = ignite.folder + "/device"
      try await Ignite.run(["truncate", "-s", "16M", image])
      try await Ignite.withLoopDevice(image) { device in
        let result = try await ignite(
          "run", "-d", "--name", "one", "--device-read-bps", "\(device):1mb", "--device-write-iops", "\(device):50",
          Ignite.image, "sleep", "3600")
        if old || new {
          #expect(result.status == 0, "\(result.errorText)")
          let uid = result.text.trimmingSuffix()
          let values = value(uid, "io.max", "blkio.throttle.read_bps_device") ?? ""
          #expect(values.contains("1048576"), "\(values)")
        } else {
          #expect(result.status == 125 && result.errorText.contains("no cgroup controller"), "\(result.errorText)")
        }
        try await ignite.succeed("rm", "-f", "one")
      }
    }
  }

  @Test func badInputIsRefused() async throws {
    try await Ignite.with { ignite in
      for (flags, words) in [
        (["--cpus", "0"], "--cpus 0"), (["--cpus", "-1"], "--cpus"), (["--cpus", "1.2345"], "no number"),
        (["--cpus", "half"], "no number"), (["-c", "1"], "2 to 262144"), (["--blkio-weight", "5"], "10 to 1000"),
        (["--device-read-bps", "sda:1mb"], "not possible"),
        (["--device-read-bps", "/etc/passwd:1mb"], "no block device"),
      ] {
        let result = try await ignite(["run", "--rm"] + flags + [Ignite.image, "true"])
        #expect(result.status == 125 && result.errorText.contains(words), "\(flags): \(result.errorText)")
      }
      #expect(try await ignite.vms().isEmpty)
    }
  }
}
