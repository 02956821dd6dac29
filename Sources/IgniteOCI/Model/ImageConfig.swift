/// The configuration blob of an image: its platform, how to run it, and its layers' uncompressed digests
/// (OCI image specification, config.md). Fields that are absent or null are nil or empty.
public struct ImageConfig: Sendable, Hashable {
  /// When the image was made, RFC 3339, as the image says it.
  public var created: String?
  public var author: String?
  public var architecture: String
  public var os: String
  public var osVersion: String?
  public var variant: String?
  /// How to run the image.
  public var config: Process
  /// The sha256 of each layer's tar, uncompressed, lowest first.
  public var diffIDs: [Digest]
  public var history: [History]

  public init(
    created: String? = nil, author: String? = nil, architecture: String = "amd64", os: String = "linux",
    osVersion: String? = nil, variant: String? = nil, config: Process = Process(), diffIDs: [Digest] = [],
    history: [History] = []
  ) {
    self.created = created
    self.author = author
    self.architecture = architecture
    self.os = os
    self.osVersion = osVersion
    self.variant = variant
    self.config = config
    self.diffIDs = diffIDs
    self.history = history
  }

  /// The platform that the image says it is for.
  public var platform: Platform {
    Platform(os: os, architecture: architecture, variant: variant, osVersion: osVersion)
  }
}

extension ImageConfig {
  /// The `config` object: defaults for the process (config.md, with Docker's additions).
  public struct Process: Sendable, Hashable {
    /// nil when the image sets none; an empty list is kept as such.
    public var entrypoint: [String]?
    public var command: [String]?
    /// `NAME=value`.
    public var environment: [String]
    /// `user`, `uid`, `user:group`, `uid:gid`, …; empty for root.
    public var user: String
    public var workingDirectory: String
    /// A signal's name or number; empty for SIGTERM.
    public var stopSignal: String
    /// `port/protocol`, sorted.
    public var exposedPorts: [String]
    /// Paths, sorted.
    public var volumes: [String]
    public var labels: [String: String]
    public var healthcheck: Healthcheck?

    public init(
      entrypoint: [String]? = nil, command: [String]? = nil, environment: [String] = [], user: String = "",
      workingDirectory: String = "", stopSignal: String = "", exposedPorts: [String] = [], volumes: [String] = [],
      labels: [String: String] = [:], healthcheck: Healthcheck? = nil
    ) {
      self.entrypoint = entrypoint
      self.command = command
      self.environment = environment
      self.user = user
      self.workingDirectory = workingDirectory
      self.stopSignal = stopSignal
      self.exposedPorts = exposedPorts
      self.volumes = volumes
      self.labels = labels
      self.healthcheck = healthcheck
    }
  }

  /// Docker's health check; durations are nanoseconds, 0 for the default.
  public struct Healthcheck: Sendable, Hashable {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty to inherit.
    public var test: [String]
    public var interval: Int64
    public var timeout: Int64
    public var startPeriod: Int64
    public var startInterval: Int64
    public var retries: Int

    public init(
      test: [String] = [], interval: Int64 = 0, timeout: Int64 = 0, startPeriod: Int64 = 0, startInterval: Int64 = 0,
      retries: Int = 0
    ) {
      self.test = test
      self.interval = interval
      self.timeout = timeout
      self.startPeriod = startPeriod
      self.startInterval = startInterval
      self.retries = retries
    }
  }

  /// One step of how the image was made.
  public struct History: Sendable, Hashable {
    public var created: String?
    public var createdBy: String?
    public var comment: String?
    /// Whether the step made no layer.
    public var emptyLayer: Bool

    public init(created: String? = nil, createdBy: String? = nil, comment: String? = nil, emptyLayer: Bool = false) {
      self.created = created
      self.createdBy = createdBy
      self.comment = comment
      self.emptyLayer = emptyLayer
    }
  }
}
