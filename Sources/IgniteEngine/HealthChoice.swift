internal import IgniteAPI
internal import IgniteOCI
internal import IgniteSupervisor

/// Which health check a VM has: its own fields over its image's, as docker has it.
enum HealthChoice {
  private static let usual: (interval: Int64, timeout: Int64, startInterval: Int64, retries: Int) = (
    30_000, 30_000, 5000, 3
  )

  static func plan(_ spec: VMSpec.Health?, image: ImageConfig.Healthcheck?) -> SpawnPlan.Health? {
    let test = spec?.test ?? image?.test ?? []
    let arguments: [String]
    switch test.first {
    case "CMD"? where test.count > 1: arguments = Array(test.dropFirst())
    case "CMD-SHELL"? where test.count == 2: arguments = ["/bin/sh", "-c", test[1]]
    default: return nil
    }
    // The image's times are nanoseconds; what is 0 there is the default.
    func time(_ own: Int64?, _ image: Int64?, _ usual: Int64) -> Int64 {
      if let own { return own }
      guard let image, image > 0 else { return usual }
      return min(max(1, image / 1_000_000), 86_400_000)
    }
    return SpawnPlan.Health(
      arguments: arguments, interval: time(spec?.interval, image?.interval, usual.interval),
      timeout: time(spec?.timeout, image?.timeout, usual.timeout),
      startPeriod: time(spec?.startPeriod, image?.startPeriod, 0),
      startInterval: time(spec?.startInterval, image?.startInterval, usual.startInterval),
      retries: spec?.retries ?? image.flatMap { $0.retries > 0 ? $0.retries : nil } ?? usual.retries,
      endsUnhealthy: spec?.endsUnhealthy ?? false)
  }
}
