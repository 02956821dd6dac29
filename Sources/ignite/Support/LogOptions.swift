internal import IgniteAPI
internal import IgniteEngine

/// Docker's `--log-opt` of the driver json-file.
enum LogOptions {
  static func bounds(_ options: [String], driver: String?) throws -> VMSpec.Logs? {
    if let driver, !["json-file", "local"].contains(driver) {
      throw EngineError(
        .invalidArgument, "--log-driver \(driver) is not possible", advice: "leave it out; logs are files of JSON lines"
      )
    }
    var logs = VMSpec.Logs()
    for option in options {
      let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
      switch (parts.first ?? "", parts.count) {
      case ("max-size", 2):
        guard let size = ByteQuantity(commandLine: parts[1]), EngineConfiguration.Logs.sizes.contains(size.bytes) else {
          break
        }
        logs.maxSize = size
        continue
      case ("max-file", 2):
        guard let count = UInt32(parts[1]), EngineConfiguration.Logs.counts.contains(count) else { break }
        logs.maxFiles = Int(count)
        continue
      default: break
      }
      throw EngineError(
        .invalidArgument, "--log-opt \(option) is not possible",
        advice: "write max-size=16m (4k at least) or max-file=2 (1 to 100)")
    }
    return options.isEmpty ? nil : logs
  }
}
