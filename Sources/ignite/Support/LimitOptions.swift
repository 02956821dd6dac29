internal import ArgumentParser
internal import IgniteAPI
internal import IgniteEngine

/// Docker's flags for a VM's share of the host's processors and disks.
struct LimitOptions: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("cpu-shares")],
    help: ArgumentHelp("Its share of the processors where time is short, usually 1024.", valueName: "weight"))
  var cpuShares: Int?

  @Option(
    name: .customLong("blkio-weight"),
    help: ArgumentHelp("The same of disks, from 10 to 1000.", valueName: "weight"))
  var ioWeight: Int?

  @Option(
    name: .customLong("device-read-bps"), parsing: .singleValue,
    help: ArgumentHelp("Read so much of a host's device a second at most.", valueName: "device:rate"))
  var readBytes: [String] = []

  @Option(
    name: .customLong("device-write-bps"), parsing: .singleValue,
    help: ArgumentHelp("Write so much to a host's device a second at most.", valueName: "device:rate"))
  var writeBytes: [String] = []

  @Option(
    name: .customLong("device-read-iops"), parsing: .singleValue,
    help: ArgumentHelp("Read so often from a host's device a second at most.", valueName: "device:count"))
  var readOperations: [String] = []

  @Option(
    name: .customLong("device-write-iops"), parsing: .singleValue,
    help: ArgumentHelp("Write so often to a host's device a second at most.", valueName: "device:count"))
  var writeOperations: [String] = []

  var isEmpty: Bool {
    cpuShares == nil && ioWeight == nil && (readBytes + writeBytes + readOperations + writeOperations).isEmpty
  }

  /// The limits over those that are there; a 0 lifts one, as docker has it.
  /// - Parameter cpuMillis: thousandths of a processor; nil leaves what is there, 0 lifts it.
  func limits(over limits: VMSpec.Limits? = nil, cpuMillis: Int? = nil) throws -> VMSpec.Limits? {
    var limits = limits ?? VMSpec.Limits()
    if let cpuMillis { limits.cpuMillis = cpuMillis == 0 ? nil : cpuMillis }
    if let cpuShares {
      try Self.check(cpuShares, in: 2...262_144, "--cpu-shares")
      limits.cpuShares = cpuShares == 0 ? nil : cpuShares
    }
    if let ioWeight {
      try Self.check(ioWeight, in: 10...1000, "--blkio-weight")
      limits.ioWeight = ioWeight == 0 ? nil : ioWeight
    }
    var devices = limits.devices ?? []
    func each(_ texts: [String], _ flag: String, _ set: (inout VMSpec.Limits.Device, ByteQuantity) -> Void) throws {
      for text in texts {
        guard let colon = text.lastIndex(of: ":"), text.hasPrefix("/"),
          let value = ByteQuantity(commandLine: String(text[text.index(after: colon)...]))
        else {
          throw EngineError(
            .invalidArgument, "\(flag) \(text) is not possible", advice: "write it as /dev/sda:10mb, or /dev/sda:100")
        }
        let path = String(text[..<colon])
        if !devices.contains(where: { $0.path == path }) { devices.append(VMSpec.Limits.Device(path: path)) }
        guard let index = devices.firstIndex(where: { $0.path == path }) else { continue }
        set(&devices[index], value)
      }
    }
    try each(readBytes, "--device-read-bps") { $0.readBytes = $1.bytes == 0 ? nil : $1 }
    try each(writeBytes, "--device-write-bps") { $0.writeBytes = $1.bytes == 0 ? nil : $1 }
    try each(readOperations, "--device-read-iops") { $0.readOperations = $1.bytes == 0 ? nil : $1.bytes }
    try each(writeOperations, "--device-write-iops") { $0.writeOperations = $1.bytes == 0 ? nil : $1.bytes }
    limits.devices = devices.isEmpty ? nil : devices
    return limits.isEmpty ? nil : limits
  }

  private static func check(_ value: Int, in range: ClosedRange<Int>, _ flag: String) throws {
    guard value == 0 || range.contains(value) else {
      throw EngineError(
        .invalidArgument, "\(flag) \(value) is not possible",
        advice: "give \(range.lowerBound) to \(range.upperBound), or 0 for none")
    }
  }

  /// `1.5` as thousandths.
  static func millis(_ text: String) throws -> Int {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    let fraction = parts.count == 2 ? parts[1] : ""
    guard parts.count <= 2, fraction.utf8.count <= 3, parts.count == 1 || !fraction.isEmpty,
      let whole = parts[0].isEmpty ? 0 : Int(parts[0]), (0...1024).contains(whole),
      let rest = fraction.isEmpty ? 0 : Int(fraction), rest >= 0, !fraction.hasPrefix("-"), !fraction.hasPrefix("+")
    else {
      throw EngineError(
        .invalidArgument, "--cpus \(text) is no number of processors", advice: "write it as 2, or as 0.5")
    }
    return whole * 1000 + rest * [1000, 100, 10, 1][fraction.utf8.count]
  }
}
