internal import Glibc

/// What the processes of a cgroup may take of the host; nil is no limit.
public struct CgroupLimits: Codable, Sendable, Equatable {
  /// Rates of one block device, a second.
  public struct Device: Codable, Sendable, Equatable {
    public var major: UInt32
    public var minor: UInt32
    public var readBytes: UInt64?
    public var writeBytes: UInt64?
    public var readOperations: UInt64?
    public var writeOperations: UInt64?

    public init(major: UInt32, minor: UInt32) {
      self.major = major
      self.minor = minor
    }
  }

  /// Thousandths of one processor's time.
  public var cpuMillis: Int?
  /// A share among others where time is short, as docker and cgroup v1 count it: 2 to 262144, usually 1024.
  public var cpuShares: Int?
  /// The same of disks: 10 to 1000, usually 100.
  public var ioWeight: Int?
  public var devices: [Device] = []

  public init() {}

  public var isEmpty: Bool { self == CgroupLimits() }
}

extension Cgroup {
  /// A controller's directory for one cgroup.
  enum Place: Equatable {
    case v2(String)
    case v1(String)

    var path: String {
      switch self {
      case .v2(let path), .v1(let path): path
      }
    }
  }

  /// A file and what is written to it.
  struct Setting: Equatable {
    var file: String
    var value: String
    /// Nothing is missed where the host's kernel has no such file: it lifts a limit.
    var lifts = false
  }

  /// Makes the cgroup's processes go by the limits, from now on; those of an earlier call are lifted. Blocking.
  ///
  /// Where a controller is in the v1 hierarchy the cgroup has a directory there too, which its processes are moved to.
  /// - Throws: SystemError that names what the host lacks.
  public func apply(_ limits: CgroupLimits) throws(SystemError) {
    let mounts = try readSmallFile("/proc/self/mountinfo", limit: 1 << 20)
    let wantsCPU = limits.cpuMillis != nil || limits.cpuShares != nil
    let wantsIO = limits.ioWeight != nil || !limits.devices.isEmpty
    for (controller, isWanted) in [("cpu", wantsCPU), ("io", wantsIO)] {
      guard let place = try place(of: controller, mounts: mounts, makes: isWanted) else { continue }
      let settings = controller == "cpu" ? Self.cpuSettings(limits, place) : Self.ioSettings(limits, place)
      for setting in settings { try set(setting, in: place, mustBe: isWanted && !setting.lifts) }
    }
  }

  /// The v1 directories that it has besides.
  var otherPaths: [String] {
    guard let mounts = try? readSmallFile("/proc/self/mountinfo", limit: 1 << 20) else { return [] }
    return ["cpu", "blkio"].compactMap { controller in
      Self.v1Hierarchy(of: controller, mountinfo: mounts).map { "\($0)/ignite/\(name)" }
    }.filter { access($0, F_OK) == 0 }
  }

  private var name: String { path.split(separator: "/").last.map(String.init) ?? "" }

  /// nil where the controller is nowhere, or nothing is made in it.
  private func place(of controller: String, mounts: String, makes: Bool) throws(SystemError) -> Place? {
    let root = path.split(separator: "/").dropLast(2).map { "/" + $0 }.joined()
    let there = (try? readSmallFile("\(root)/cgroup.controllers"))?.split(whereSeparator: \.isWhitespace) ?? []
    if there.contains(where: { $0 == controller }) {
      if makes {
        for parent in [root, root + "/ignite"] {
          do throws(SystemError) {
            try Self.write("+\(controller)", to: "\(parent)/cgroup.subtree_control")
          } catch {
            // cgroups(7), "no internal processes": EBUSY, of controllers of threads ENOTSUP one level below.
            guard error.code == EBUSY || error.code == ENOTSUP else { throw error }
            let reason = "\(root) has processes of its own, which belong in a cgroup below it"
            throw SystemError("limit a VM: pass \"\(controller)\" down: \(reason)", code: error.code)
          }
        }
      }
      return access("\(path)/\(controller).stat", F_OK) == 0 || makes ? .v2(path) : nil
    }
    let old = controller == "io" ? "blkio" : controller
    guard let hierarchy = Self.v1Hierarchy(of: old, mountinfo: mounts) else {
      if !makes { return nil }
      throw SystemError("limit a VM: the host has no cgroup controller \"\(controller)\"", code: ENOTSUP)
    }
    let place = "\(hierarchy)/ignite/\(name)"
    if !makes { return access(place, F_OK) == 0 ? .v1(place) : nil }
    for directory in ["\(hierarchy)/ignite", place] where mkdir(directory, 0o755) != 0 && errno != EEXIST {
      throw SystemError("make the cgroup \(directory)")
    }
    // Of processes that run already; one that has just ended is none.
    for pid in try members() {
      do throws(SystemError) {
        try Self.write("\(pid)", to: "\(place)/cgroup.procs")
      } catch {
        guard error.code == ESRCH else { throw error }
      }
    }
    return .v1(place)
  }

  /// proc(5), mountinfo: after the hyphen come the type, the source, and the options, a controller among them.
  static func v1Hierarchy(of controller: String, mountinfo: String) -> String? {
    for line in mountinfo.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let hyphen = fields.firstIndex(of: "-"), hyphen + 3 < fields.count, fields.count > 4 else { continue }
      if fields[hyphen + 1] == "cgroup", fields[hyphen + 3].split(separator: ",").contains(Substring(controller)) {
        return String(fields[4])
      }
    }
    return nil
  }

  private static let period = 100_000

  static func cpuSettings(_ limits: CgroupLimits, _ place: Place) -> [Setting] {
    let quota = limits.cpuMillis.map { $0 * period / 1000 }
    let shares = limits.cpuShares ?? 1024
    switch place {
    case .v2:
      // As runc converts it: 2…262144 to 1…10000; without one, the usual 100.
      let weight = limits.cpuShares == nil ? 100 : 1 + (shares - 2) * 9999 / 262_142
      return [
        Setting(file: "cpu.max", value: "\(quota.map(String.init) ?? "max") \(period)"),
        Setting(file: "cpu.weight", value: "\(weight)"),
      ]
    case .v1:
      return [
        Setting(file: "cpu.cfs_period_us", value: "\(period)"),
        Setting(file: "cpu.cfs_quota_us", value: "\(quota ?? -1)"),
        Setting(file: "cpu.shares", value: "\(shares)"),
      ]
    }
  }

  /// Devices that are limited now, and not by `limits`, are no longer. Reads the place's files.
  static func ioSettings(_ limits: CgroupLimits, _ place: Place) -> [Setting] {
    switch place {
    case .v2(let path):
      let weight = limits.ioWeight.map { 1 + ($0 - 10) * 9999 / 990 } ?? 100
      func text(_ value: UInt64?) -> String { value.map { "\($0)" } ?? "max" }
      func rates(_ device: CgroupLimits.Device, lifts: Bool) -> Setting {
        Setting(
          file: "io.max",
          value: "\(device.major):\(device.minor) rbps=\(text(device.readBytes)) wbps=\(text(device.writeBytes)) "
            + "riops=\(text(device.readOperations)) wiops=\(text(device.writeOperations))", lifts: lifts)
      }
      return [Setting(file: "io.weight", value: "default \(weight)", lifts: limits.ioWeight == nil)]
        + devices(in: "\(path)/io.max", notOf: limits).map { rates($0, lifts: true) }
        + limits.devices.map { rates($0, lifts: false) }
    case .v1(let path):
      let file = access("\(path)/blkio.bfq.weight", F_OK) == 0 ? "blkio.bfq.weight" : "blkio.weight"
      var settings = [Setting(file: file, value: "\(limits.ioWeight ?? 100)", lifts: limits.ioWeight == nil)]
      let rates: [(String, KeyPath<CgroupLimits.Device, UInt64?>)] = [
        ("read_bps", \.readBytes), ("write_bps", \.writeBytes), ("read_iops", \.readOperations),
        ("write_iops", \.writeOperations),
      ]
      for (name, value) in rates {
        let file = "blkio.throttle.\(name)_device"
        settings += devices(in: "\(path)/\(file)", notOf: limits).map {
          Setting(file: file, value: "\($0.major):\($0.minor) 0", lifts: true)
        }
        settings += limits.devices.map {
          Setting(file: file, value: "\($0.major):\($0.minor) \($0[keyPath: value] ?? 0)")
        }
      }
      return settings
    }
  }

  /// The devices that a file has lines of, as `254:0 rbps=…` or `7:0 1048576`.
  private static func devices(in file: String, notOf limits: CgroupLimits) -> [CgroupLimits.Device] {
    let text = (try? readSmallFile(file, limit: 1 << 16)) ?? ""
    return text.split(separator: "\n").compactMap { line in
      let numbers = line.prefix { $0 != " " }.split(separator: ":").compactMap { UInt32($0) }
      guard numbers.count == 2 else { return nil }
      return CgroupLimits.Device(major: numbers[0], minor: numbers[1])
    }.filter { found in !limits.devices.contains { $0.major == found.major && $0.minor == found.minor } }
  }

  private func set(_ setting: Setting, in place: Place, mustBe: Bool) throws(SystemError) {
    let file = "\(place.path)/\(setting.file)"
    do throws(SystemError) {
      try Self.write(setting.value, to: file)
    } catch {
      guard mustBe else { return }
      if error.code == ENOENT {
        throw SystemError("limit a VM: the host's kernel has no \(setting.file)", code: ENOTSUP)
      }
      throw error
    }
  }

  private static func write(_ text: String, to path: String) throws(SystemError) {
    let file = try FileDescriptor.open(path, O_WRONLY)
    try retrying("write \"\(text)\" to \(path)") { Glibc.write(file.number, text, text.utf8.count) }
  }
}
