public import FoundationEssentials
internal import IgniteHypervisor
internal import IgniteImages
internal import IgniteOCI
internal import IgniteSystem

/// A template in a list.
public struct TemplateSummary: Codable, Sendable {
  /// 32 hexadecimal digits.
  public var key: String
  public var kernel: String
  public var cpus: Int
  /// Bytes of memory.
  public var memory: UInt64
  /// Bytes on the host's disk.
  public var size: UInt64
  public var created: Date
  public var lastUsed: Date
  public var hypervisor: String
  /// Why no VM can start from it any more; absent for one that serves.
  public var unusable: String?
  /// As root, the process that holds its memory for VMs.
  public var keeper: Int32?
  /// How many VMs that keeper counts, those being started among them; absent without one.
  public var clones: Int?
  /// How many hypervisors were started from it ahead, and wait.
  public var spares: Int
}

extension Engine {
  /// All templates, the least recently used first.
  public func templateSummaries() async throws -> [TemplateSummary] {
    let store = templates
    let kernels = try await kernelRecords()
    let cache = installationCache
    let kernelStore = KernelStore(root: paths.data)
    let rateCache = paths.data + "/tsc.json"
    let waiting = try await waitingSpares()
    return try await ThreadExecutor.run { () throws(HypervisorError) in
      let installed = try? QEMUHypervisor().installation(cache: cache)
      let rate = TimestampCounter.kilohertz(cache: rateCache)
      return try store.list().templates.map { template in
        let identity = template.record.identity
        let kernel = kernels.first { $0.kernel.digest.description == identity.kernel }?.kernel
        var unusable: String?
        if let kernel {
          if !kernelStore.hasInitrd(identity.initrd, of: kernel) { unusable = "made with another ignite-init" }
        } else {
          unusable = "its kernel is not here any more"
        }
        if installed?.version != identity.version || installed?.time != identity.programTime {
          unusable = "made with another QEMU"
        }
        if let told = identity.timestampCounterKilohertz, told != rate { unusable = "the host's clock is another" }
        return TemplateSummary(
          key: template.record.key.hex, kernel: identity.kernelName, cpus: identity.cpus, memory: identity.memoryBytes,
          size: template.bytes, created: template.record.created, lastUsed: template.lastUsed,
          hypervisor: identity.version, unusable: unusable, keeper: template.keeper,
          clones: template.keeper.map { _ in template.clones },
          spares: waiting.filter { $0.template == template.record.key.hex }.count)
      }
    }
  }

  /// The template whose key begins so.
  public func template(_ query: String) async throws -> TemplateSummary {
    let found = query.utf8.count < 4 ? [] : try await templateSummaries().filter { $0.key.hasPrefix(query) }
    guard let first = found.first else {
      throw EngineError(
        .notFound, "no template has the key \"\(query)\"",
        advice: "list them with `ignite template ls`, and give at least four digits")
    }
    guard found.count == 1 else {
      throw EngineError(
        .ambiguous, "several templates have keys that begin with \"\(query)\"", advice: "give more digits")
    }
    return first
  }

  /// Removes a template; VMs that were started from it go on.
  public func removeTemplate(_ query: String) async throws -> TemplateSummary {
    let found = try await template(query)
    try await drop([found.key])
    return found
  }

  /// Takes away templates that no VM can start from any more, or all; what makers that died left behind in any case.
  public func pruneTemplates(all: Bool, until: Date?, dryRun: Bool) async throws -> [TemplateSummary] {
    let doomed = try await templateSummaries().filter { template in
      (all || template.unusable != nil) && until.map { template.created < $0 } ?? true
    }
    if !dryRun {
      let store = templates
      try await ThreadExecutor.run { () throws(HypervisorError) in
        for key in try store.list().damaged { try store.drop(key) }
        store.removeAbandoned()
      }
      try await drop(doomed.map(\.key))
    }
    return doomed
  }

  /// A kernel's templates go with it.
  func removeTemplates(ofKernel digest: Digest) async throws {
    let store = templates
    let listed = try await ThreadExecutor.run { () throws(HypervisorError) in try store.list().templates }
    try await drop(listed.filter { $0.record.identity.kernel == digest.description }.map(\.record.key.hex))
  }

  private func drop(_ keys: [String]) async throws {
    let store = templates
    try await endSpares { keys.contains($0.template) }
    try await ThreadExecutor.run { () throws(HypervisorError) in
      for key in keys.compactMap({ TemplateKey($0) }) { try store.drop(key) }
    }
  }
}

extension TemplateIdentity {
  /// The rate that an emulated kernel was told of the host's counter.
  fileprivate var timestampCounterKilohertz: UInt64? {
    for argument in arguments {
      for word in argument.split(separator: " ") where word.hasPrefix("tsc_early_khz=") {
        return UInt64(word.dropFirst("tsc_early_khz=".count))
      }
    }
    return nil
  }
}
