internal import FoundationEssentials
internal import Glibc
public import IgniteAPI
internal import IgniteHypervisor
internal import IgniteSupervisor
internal import IgniteSystem
internal import IgniteWire

/// What a VM takes of its host, and what its guest counts. Sizes in bytes, counted from the VM's start.
public struct VMStatistics: Codable, Sendable, Equatable {
  public var uid: String
  public var name: String
  /// Per cent of one processor of the host, over the last second.
  public var cpu: Double
  /// Resident memory of hypervisor and supervisor on the host.
  public var hostMemory: UInt64
  /// What the VM was given.
  public var memory: UInt64
  /// From the guest, where it answers: a VM that is paused or is starting does not.
  public var guest: Guest?

  public struct Guest: Codable, Sendable, Equatable {
    /// Of the memory that the kernel manages; what could be given back at once does not count.
    public var memoryUsed: UInt64
    public var received: UInt64
    public var sent: UInt64
    public var read: UInt64
    public var written: UInt64
    /// Processes, without the kernel's.
    public var processes: UInt64
  }
}

extension Engine {
  /// Measures VMs over a second, all at once; those that do not run are left out.
  public func statistics(of vms: [VM]) async throws -> [VMStatistics] {
    let running = vms.filter(\.status.phase.isActive)
    let before = running.map { Self.processorTime($0) }
    let began = Timeline.now()
    try await Task.sleep(for: .seconds(1))
    return await withTaskGroup(of: (Int, VMStatistics).self) { group in
      for (index, vm) in running.enumerated() {
        group.addTask {
          let time = Self.processorTime(vm)
          let passed = Double(Timeline.now() - began) / 1e9
          var statistics = VMStatistics(
            uid: vm.metadata.uid, name: vm.metadata.name, cpu: 0, hostMemory: Self.resident(vm),
            memory: vm.spec.resources.memory.bytes)
          // Another hypervisor than a second ago has no time to compare with.
          if let now = time, let then = before[index], now >= then { statistics.cpu = (now - then) / passed * 100 }
          if vm.status.phase == .running { statistics.guest = try? await guestStatistics(of: vm) }
          return (index, statistics)
        }
      }
      return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  private func guestStatistics(of vm: VM) async throws -> VMStatistics.Guest? {
    try await listing(.statistics, of: vm).flatMap { VMStatistics.Guest($0) }
  }

  // MARK: The host's view

  /// Seconds of processors' time that the VM's processes have had; nil where there are none.
  private static func processorTime(_ vm: VM) -> Double? {
    let ticks = [vm.status.hypervisorPID, vm.status.supervisorPID].compactMap(\.self).compactMap { pid -> UInt64? in
      // proc(5), stat: fields 14 and 15, of which the first two may hold spaces in brackets.
      guard let text = HostHardware.text(of: "/proc/\(pid)/stat", limit: 4096), let close = text.lastIndex(of: ")")
      else { return nil }
      let fields = text[text.index(after: close)...].split(separator: " ")
      guard fields.count > 12, let user = UInt64(fields[11]), let system = UInt64(fields[12]) else { return nil }
      return user + system
    }
    return ticks.isEmpty ? nil : Double(ticks.reduce(0, +)) / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  private static func resident(_ vm: VM) -> UInt64 {
    [vm.status.hypervisorPID, vm.status.supervisorPID].compactMap(\.self).reduce(0) { sum, pid in
      let fields = (HostHardware.text(of: "/proc/\(pid)/statm", limit: 256) ?? "").split(separator: " ")
      return sum + (fields.count > 1 ? UInt64(fields[1]) ?? 0 : 0) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    }
  }
}

extension VMStatistics.Guest {
  /// From what the guest wrote (Guest/Sources/ignite-init/Statistics.swift); nil where that makes no sense.
  init?(_ bytes: [UInt8]) {
    guard bytes.count <= 1 << 16 else { return nil }
    var sections: [String: [[Substring]]] = [:]
    var name = ""
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      if line.hasPrefix("= ") {
        name = String(line.dropFirst(2))
      } else {
        sections[name, default: []].append(line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ":" }))
      }
    }
    func memory(_ field: String) -> UInt64? {
      sections["meminfo"]?.first { $0.first.map(String.init) == field }.flatMap { $0.count > 1 ? UInt64($0[1]) : nil }
    }
    guard let total = memory("MemTotal"), let available = memory("MemAvailable"), total < 1 << 50,
      let processes = sections["pids"]?.first?.first.flatMap({ UInt64($0) })
    else { return nil }
    memoryUsed = (total - min(total, available)) << 10
    self.processes = processes
    (received, sent, read, written) = (0, 0, 0, 0)
    // proc(5), net/dev: bytes received are the first, bytes sent the ninth number.
    for fields in sections["net/dev"] ?? [] where fields.first == "eth0" && fields.count > 9 {
      received = UInt64(fields[1]) ?? 0
      sent = UInt64(fields[9]) ?? 0
    }
    // Documentation/admin-guide/iostats.rst: sectors of 512 bytes read are the third, written the seventh number.
    for fields in sections["diskstats"] ?? [] where fields.count > 9 && fields[2].hasPrefix("vd") {
      read = read &+ (UInt64(fields[5]) ?? 0) &* 512
      written = written &+ (UInt64(fields[9]) ?? 0) &* 512
    }
  }
}
