internal import Glibc
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteNetwork
public import IgniteSystem

extension Engine {
  /// What this host can and cannot do, and how to mend each thing.
  public func doctor() async throws -> [HostCheck] {
    let loop = try EventLoop(name: "ignite-doctor")
    defer { loop.stop() }
    let data = paths.data
    var checks = await ThreadExecutor.run { HostProbe.checks(dataDirectory: data) }
    checks.append(await UserNetwork.check(loop: loop))
    do {
      let path = try Installation.guestInit(environment: environment)
      checks.append(HostCheck("init", .ok, path))
    } catch {
      checks.append(HostCheck("init", .failed, userMessage(error)))
    }
    if let kernel = try await kernelRecords().first(where: { $0.isDefault == true })?.kernel {
      checks.append(HostCheck("kernel", .ok, "\(kernel.name) (\(kernel.version)) is the default"))
    } else {
      checks.append(
        HostCheck(
          "kernel", .failed, "no kernel is imported",
          advice: "ignite kernel import apt:linux-image-cloud-amd64"))
    }
    let leftovers = try await collectGarbage(dryRun: true)
    if leftovers.isEmpty {
      checks.append(HostCheck("leftovers", .ok, "everything is accounted for"))
    } else {
      let names = leftovers.prefix(3).map { "\($0.kind.rawValue) \($0.name)" }.joined(separator: ", ")
      checks.append(
        HostCheck(
          "leftovers", .warning, "\(leftovers.count) things that no object accounts for: \(names)",
          advice: "take them back: ignite gc"))
    }
    return checks
  }
}
