public import IgniteAPI
public import IgniteNetwork
public import IgniteOCI

/// What `create` and `run` are asked for: a VM's spec, before names and defaults are resolved.
public struct VMRequest: Sendable {
  /// A reference, or another source that `image import` takes.
  public var image: String
  public var name: String?
  public var labels: [String: String] = [:]
  public var kernel: String?
  public var pull: PullPolicy = .missing
  /// The image's platform; nil for this machine's.
  public var platform: Platform?
  public var resources = VMSpec.Resources()
  public var process = VMSpec.Process()
  public var ports: [PublishedPort] = []
  public var hostname: String?
  public var autoRemove = false
  public var restart = VMSpec.Restart()
  public var health: VMSpec.Health?
  public var logs: VMSpec.Logs?
  /// By name or number; nil is the image's.
  public var stopSignal: String?
  /// Seconds.
  public var stopTimeout: Int?
  public var cold = false
  public var volumes: [VolumeMount] = []
  public var limits: VMSpec.Limits?
  /// `kvm`, `tcg` or nil for what the host can do.
  public var accelerator: String?

  public init(image: String) { self.image = image }
}
