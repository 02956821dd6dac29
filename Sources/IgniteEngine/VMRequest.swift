public import IgniteAPI
public import IgniteNetwork
public import IgniteOCI

/// What `create` and `run` are asked for: a VM's spec, before names and defaults are resolved.
public struct VMRequest: Sendable {
  /// A reference, or another source that `image import` takes.
  public var image: String
  public var name: String?
  public var labels: [String: String] = [:]
  public var annotations: [String: String] = [:]
  public var updatePolicy: UpdatePolicy?
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
  /// What the VM belongs to.
  public var owners: [ObjectReference] = []
  public var reclaimMemory = false
  public var volumes: [VolumeMount] = []
  /// What it is given at each start.
  public var files: [GivenFile]?
  public var limits: VMSpec.Limits?
  /// `kvm`, `tcg` or nil for what the host can do.
  public var accelerator: String?

  public init(image: String) { self.image = image }

  /// What makes a VM of that spec; what is empty in its ports is chosen.
  public init(_ spec: VMSpec, name: String, labels: [String: String], annotations: [String: String]) {
    image = spec.image.oci
    self.name = name
    self.labels = labels
    self.annotations = annotations
    updatePolicy = spec.updatePolicy
    kernel = spec.kernel?.oci
    pull = spec.image.pullPolicy
    resources = spec.resources
    process = spec.process
    ports = spec.network.ports.map { port in
      PublishedPort(
        address: port.address.isEmpty ? nil : port.address, hostPort: port.host == 0 ? nil : port.host, vmPort: port.vm,
        transport: port.protocol == "UDP" ? .udp : .tcp)
    }
    hostname = spec.hostname
    restart = spec.restart ?? VMSpec.Restart()
    health = spec.health
    logs = spec.logs
    stopSignal = spec.stopSignal
    stopTimeout = spec.stopTimeout
    cold = spec.cold ?? false
    reclaimMemory = spec.reclaimMemory ?? false
    volumes = spec.volumes ?? []
    files = spec.files
    limits = spec.limits
  }
}
