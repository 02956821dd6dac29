extension ImageConfig: Codable {
  private enum CodingKeys: String, CodingKey {
    case created, author, architecture, os, variant, config, rootfs, history
    case osVersion = "os.version"
  }

  private enum RootKeys: String, CodingKey {
    case type
    case diffIDs = "diff_ids"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    created = try container.decodeIfPresent(String.self, forKey: .created)
    author = try container.decodeIfPresent(String.self, forKey: .author)
    architecture = try container.decodeIfPresent(String.self, forKey: .architecture) ?? ""
    os = try container.decodeIfPresent(String.self, forKey: .os) ?? ""
    osVersion = try container.decodeIfPresent(String.self, forKey: .osVersion)
    variant = try container.decodeIfPresent(String.self, forKey: .variant)
    config = try container.decodeIfPresent(Process.self, forKey: .config) ?? Process()
    history = try container.decodeIfPresent([History].self, forKey: .history) ?? []
    diffIDs = []
    if container.contains(.rootfs), try !container.decodeNil(forKey: .rootfs) {
      let root = try container.nestedContainer(keyedBy: RootKeys.self, forKey: .rootfs)
      diffIDs = try root.decodeIfPresent([Digest].self, forKey: .diffIDs) ?? []
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeIfPresent(created, forKey: .created)
    try container.encodeIfPresent(author, forKey: .author)
    try container.encode(architecture, forKey: .architecture)
    try container.encode(os, forKey: .os)
    try container.encodeIfPresent(osVersion, forKey: .osVersion)
    try container.encodeIfPresent(variant, forKey: .variant)
    try container.encode(config, forKey: .config)
    if !history.isEmpty { try container.encode(history, forKey: .history) }
    var root = container.nestedContainer(keyedBy: RootKeys.self, forKey: .rootfs)
    try root.encode("layers", forKey: .type)
    try root.encode(diffIDs, forKey: .diffIDs)
  }
}

/// A value that carries nothing: Go's `struct{}`, with which JSON writes a set as an object.
private struct Nothing: Codable {
  init() {}
  init(from decoder: any Decoder) throws {}
  func encode(to encoder: any Encoder) throws { _ = encoder.container(keyedBy: NoKeys.self) }
  private enum NoKeys: CodingKey {}
}

extension ImageConfig.Process: Codable {
  private enum CodingKeys: String, CodingKey {
    case entrypoint = "Entrypoint"
    case command = "Cmd"
    case environment = "Env"
    case user = "User"
    case workingDirectory = "WorkingDir"
    case stopSignal = "StopSignal"
    case exposedPorts = "ExposedPorts"
    case volumes = "Volumes"
    case labels = "Labels"
    case healthcheck = "Healthcheck"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func set(_ key: CodingKeys) throws -> [String] {
      try container.decodeIfPresent([String: Nothing?].self, forKey: key).map { $0.keys.sorted() } ?? []
    }
    entrypoint = try container.decodeIfPresent([String].self, forKey: .entrypoint)
    command = try container.decodeIfPresent([String].self, forKey: .command)
    environment = try container.decodeIfPresent([String].self, forKey: .environment) ?? []
    user = try container.decodeIfPresent(String.self, forKey: .user) ?? ""
    workingDirectory = try container.decodeIfPresent(String.self, forKey: .workingDirectory) ?? ""
    stopSignal = try container.decodeIfPresent(String.self, forKey: .stopSignal) ?? ""
    exposedPorts = try set(.exposedPorts)
    volumes = try set(.volumes)
    labels = try container.decodeIfPresent([String: String].self, forKey: .labels) ?? [:]
    healthcheck = try container.decodeIfPresent(ImageConfig.Healthcheck.self, forKey: .healthcheck)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    func encode(_ set: [String], _ key: CodingKeys) throws {
      guard !set.isEmpty else { return }
      try container.encode(
        Dictionary(set.map { ($0, Nothing()) }, uniquingKeysWith: { first, _ in first }), forKey: key)
    }
    try container.encodeIfPresent(entrypoint, forKey: .entrypoint)
    try container.encodeIfPresent(command, forKey: .command)
    if !environment.isEmpty { try container.encode(environment, forKey: .environment) }
    if !user.isEmpty { try container.encode(user, forKey: .user) }
    if !workingDirectory.isEmpty { try container.encode(workingDirectory, forKey: .workingDirectory) }
    if !stopSignal.isEmpty { try container.encode(stopSignal, forKey: .stopSignal) }
    try encode(exposedPorts, .exposedPorts)
    try encode(volumes, .volumes)
    if !labels.isEmpty { try container.encode(labels, forKey: .labels) }
    try container.encodeIfPresent(healthcheck, forKey: .healthcheck)
  }
}

extension ImageConfig.Healthcheck: Codable {
  private enum CodingKeys: String, CodingKey {
    case test = "Test"
    case interval = "Interval"
    case timeout = "Timeout"
    case startPeriod = "StartPeriod"
    case startInterval = "StartInterval"
    case retries = "Retries"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    test = try container.decodeIfPresent([String].self, forKey: .test) ?? []
    interval = try container.decodeIfPresent(Int64.self, forKey: .interval) ?? 0
    timeout = try container.decodeIfPresent(Int64.self, forKey: .timeout) ?? 0
    startPeriod = try container.decodeIfPresent(Int64.self, forKey: .startPeriod) ?? 0
    startInterval = try container.decodeIfPresent(Int64.self, forKey: .startInterval) ?? 0
    retries = try container.decodeIfPresent(Int.self, forKey: .retries) ?? 0
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    if !test.isEmpty { try container.encode(test, forKey: .test) }
    if interval != 0 { try container.encode(interval, forKey: .interval) }
    if timeout != 0 { try container.encode(timeout, forKey: .timeout) }
    if startPeriod != 0 { try container.encode(startPeriod, forKey: .startPeriod) }
    if startInterval != 0 { try container.encode(startInterval, forKey: .startInterval) }
    if retries != 0 { try container.encode(retries, forKey: .retries) }
  }
}

extension ImageConfig.History: Codable {
  private enum CodingKeys: String, CodingKey {
    case created, comment
    case createdBy = "created_by"
    case emptyLayer = "empty_layer"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    created = try container.decodeIfPresent(String.self, forKey: .created)
    createdBy = try container.decodeIfPresent(String.self, forKey: .createdBy)
    comment = try container.decodeIfPresent(String.self, forKey: .comment)
    emptyLayer = try container.decodeIfPresent(Bool.self, forKey: .emptyLayer) ?? false
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeIfPresent(created, forKey: .created)
    try container.encodeIfPresent(createdBy, forKey: .createdBy)
    try container.encodeIfPresent(comment, forKey: .comment)
    if emptyLayer { try container.encode(true, forKey: .emptyLayer) }
  }
}
