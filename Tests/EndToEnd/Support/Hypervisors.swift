import FoundationEssentials
import Testing

extension Ignite {
  /// A VM is the process of its own hypervisor, and of no other.
  func expectOneHypervisorEach(_ names: [String]) async throws {
    let vms = try await vms()
    #expect(vms.map(\.name).sorted() == names.sorted())
    let folder = folder
    let running = try await Ignite.run([
      "/bin/sh", "-c", "grep -alE '^qemu-system|/qemu-system' /proc/[0-9]*/cmdline 2>/dev/null || :",
    ]).text
    var count = 0
    for path in running.split(separator: "\n") {
      guard let line = try? String(contentsOfFile: String(path), encoding: .utf8) else { continue }
      if line.contains(folder)
        || vms.contains(where: { line.contains($0.uid) || "\($0.hypervisor ?? 0)" == path.split(separator: "/")[1] })
      {
        count += 1
      }
    }
    #expect(count == names.count, "\(count) hypervisors for \(names)")
  }
}
