import Glibc
import IgniteSystem
import Testing

@testable import IgniteHypervisor

@Suite struct HostTests {
  let scratch = HypervisorScratch()

  @Test func theCountersRateIsMeasuredAndCached() throws {
    let path = "\(scratch.path)/tsc.json"
    let measured = try #require(TimestampCounter.kilohertz(cache: path))
    #expect(TimestampCounter.kilohertz(cache: path) == measured)
    let text = try #require(HostHardware.text(of: path))
    // One that another boot, or nobody, wrote is not believed.
    let boot = try #require(HostHardware.bootID())
    _ = try scratch.write("tsc.json", Array(text.replacing(boot, with: "other").utf8))
    #expect(TimestampCounter.kilohertz(cache: path) != nil)
    #expect(HostHardware.text(of: path)?.contains(boot) == true)
    _ = try scratch.write("tsc.json", Array(text.replacing("\(measured)", with: "1").utf8))
    #expect(TimestampCounter.kilohertz(cache: path) != 1)
    #expect(TimestampCounter.kilohertz(cache: "/no/such/place") != nil)
  }

  @Test func whatKVMIsWorth() {
    let answers = HostHardware.KVMDevice.answers(version: 12, createsMachines: true)
    #expect(KVMProbe.verdict(answers) { $0 == "kvm_intel" } == .usable)
    #expect(KVMProbe.verdict(answers) { $0 == "kvm_pvm" || $0 == "kvm_amd" } == .usable)
    // Built in, without a directory of its own.
    #expect(KVMProbe.verdict(answers) { _ in false } == .usable)
    func reason(_ device: HostHardware.KVMDevice, _ module: String = "kvm_amd") -> String {
      if case .unusable(let reason, _) = KVMProbe.verdict(device, hasModule: { $0 == module }) { return reason }
      return ""
    }
    #expect(reason(answers, "kvm_pvm").contains("kvm_pvm"))
    #expect(reason(.unavailable(errno: ENOENT)) == "there is no /dev/kvm")
    #expect(reason(.unavailable(errno: EACCES)) == "this user may not open /dev/kvm")
    #expect(reason(.unavailable(errno: ENODEV)).contains("No such device"))
    #expect(reason(.answers(version: 11, createsMachines: true)).contains("11"))
    #expect(reason(.answers(version: 12, createsMachines: false)).contains("refuses"))
  }

  @Test func theProbeIsCachedForTheBoot() throws {
    let path = "\(scratch.path)/kvm.json"
    let probe = KVMProbe.look(cache: path)
    #expect(probe == KVMProbe.look())
    let boot = try #require(HostHardware.bootID())
    _ = try scratch.write("kvm.json", Array(#"{"boot":"\#(boot)","user":\#(getuid()),"reason":"from the cache"}"#.utf8))
    #expect(KVMProbe.look(cache: path) == .unusable(reason: "from the cache", advice: nil))
    _ = try scratch.write("kvm.json", Array(#"{"boot":"x","user":\#(getuid()),"reason":"from the cache"}"#.utf8))
    #expect(KVMProbe.look(cache: path) == probe)
  }

  @Test func theDoctorLooksAtEverything() {
    let checks = HostProbe.checks(dataDirectory: "\(scratch.path)/not/yet")
    #expect(
      checks.map(\.name) == ["qemu", "kvm", "isolation", "clock", "cgroup", "user", "memory", "disk", "apt"])
    #expect(checks.first?.status == .ok)
    for check in checks { #expect(!check.detail.isEmpty && !check.detail.contains("\n")) }
  }
}
