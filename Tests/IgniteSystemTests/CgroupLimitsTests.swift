import FoundationEssentials
import Glibc
import Testing

@testable import IgniteSystem

@Suite struct CgroupLimitsTests {
  /// A cgroup's directory with these files.
  private func with(_ files: [String: String], _ body: (String) throws -> Void) throws {
    let folder = "/tmp/limits-\(UInt64.random(in: 0 ... .max))"
    try #require(mkdir(folder, 0o700) == 0)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (name, text) in files { try text.write(toFile: "\(folder)/\(name)", atomically: false, encoding: .utf8) }
    try body(folder)
  }

  private var oneDevice: CgroupLimits {
    var limits = CgroupLimits()
    limits.devices = [CgroupLimits.Device(major: 8, minor: 0)]
    limits.devices[0].writeBytes = 1000
    return limits
  }

  @Test func devicesThatAreLimitedNoMoreAreLiftedInV2() throws {
    let found = "8:0 rbps=5 wbps=max riops=max wiops=max\n254:16 rbps=max wbps=max riops=7 wiops=max\nodd\n1:2:3 x\n"
    try with(["io.max": found]) { folder in
      let settings = Cgroup.ioSettings(oneDevice, .v2(folder))
      #expect(settings.map(\.file) == ["io.weight", "io.max", "io.max"])
      #expect(
        settings.map(\.value) == [
          "default 100", "254:16 rbps=max wbps=max riops=max wiops=max", "8:0 rbps=max wbps=1000 riops=max wiops=max",
        ])
      #expect(settings.map(\.lifts) == [true, true, false])
    }
  }

  @Test func devicesThatAreLimitedNoMoreAreLiftedInV1() throws {
    try with(["blkio.throttle.read_iops_device": "8:0 5\n7:1 9\n"]) { folder in
      let settings = Cgroup.ioSettings(oneDevice, .v1(folder))
      let written = settings.map { "\($0.file.dropFirst("blkio.".count)) \($0.value)" }
      #expect(
        written == [
          "weight 100", "throttle.read_bps_device 8:0 0", "throttle.write_bps_device 8:0 1000",
          "throttle.read_iops_device 7:1 0", "throttle.read_iops_device 8:0 0", "throttle.write_iops_device 8:0 0",
        ])
    }
  }
}
