public import FoundationEssentials
internal import IgniteAPI
public import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSystem

/// A kernel's record: what was imported, and when.
public struct KernelRecord: Codable, Sendable {
  public var kernel: ImportedKernel
  public var imported: Date
  /// Whether VMs that name no kernel get it.
  public var isDefault: Bool?
}

extension Engine {
  static let kernelKind = "Kernel"
  private static let defaultKernelKey = "kernel.default"

  /// Imports a kernel; the first one becomes the default, a later one when asked.
  ///
  /// - Parameter modules: the folder of a kernel file's modules.
  public func importKernel(
    _ source: String, modules: String? = nil, name: String? = nil, makeDefault: Bool = false,
    progress: @escaping @Sendable (KernelImportProgress) -> Void
  ) async throws -> KernelRecord {
    let kernel = try await KernelImporter.importKernel(
      source: try KernelSource(source, modules: modules), name: name,
      initPath: try Installation.guestInit(environment: environment), dataRoot: paths.data,
      openImage: { try await imageSource($0, store: $1) { _ in } }, progress: progress)
    CrashPoint.pass(.kernelPlaced)
    let record = KernelRecord(kernel: kernel, imported: Date(), isDefault: nil)
    try await put(kind: Self.kernelKind, name: kernel.name, status: try Self.encode(record))
    CrashPoint.pass(.kernelRecorded)
    if try await store.setting(Self.defaultKernelKey) == nil || makeDefault {
      try await store.setSetting(Self.defaultKernelKey, kernel.name)
    }
    return try await inspectKernel(kernel.name)
  }

  /// All kernels, by time of import.
  public func kernelRecords() async throws -> [KernelRecord] {
    let defaultName = try await store.setting(Self.defaultKernelKey)
    return try await store.list(kind: Self.kernelKind).map { object in
      do {
        var record = try APICoding.decoder().decode(KernelRecord.self, from: object.status)
        record.isDefault = record.kernel.name == defaultName
        return record
      } catch {
        throw EngineError(
          .unavailable, "the record of the kernel \"\(object.name)\" cannot be read",
          advice: "import it again", cause: error)
      }
    }
  }

  /// The kernel of that name, version or digest (at least four digits).
  public func inspectKernel(_ query: String) async throws -> KernelRecord {
    let records = try await kernelRecords()
    if let record = records.first(where: { $0.kernel.name == query }) { return record }
    let digits = query.hasPrefix("sha256:") ? String(query.dropFirst(7)) : query
    let found = records.filter {
      $0.kernel.version == query || (digits.count >= 4 && $0.kernel.digest.hex.hasPrefix(digits))
    }
    guard let first = found.first else {
      throw EngineError(.notFound, "no kernel is named \"\(query)\"", advice: "list them with `ignite kernel ls`")
    }
    guard found.count == 1 else {
      throw EngineError(.ambiguous, "several kernels fit \"\(query)\"", advice: "give the name or more digits")
    }
    return first
  }

  /// A VM's kernel: the named one, or the default.
  func kernel(_ name: String?) async throws -> ImportedKernel {
    if let name { return try await inspectKernel(name).kernel }
    guard let record = try await kernelRecords().first(where: { $0.isDefault == true }) else {
      throw EngineError(
        .notFound, "no kernel is imported", advice: "import one: ignite kernel import apt:linux-image-cloud-amd64")
    }
    return record.kernel
  }

  /// Removes a kernel that no VM names or runs.
  public func removeKernel(_ query: String) async throws -> ImportedKernel {
    let record = try await inspectKernel(query)
    let users = try await vms().filter {
      $0.spec.kernel?.oci == record.kernel.name
        || ($0.status.phase.isActive && $0.status.kernelDigest == record.kernel.digest.description)
    }
    guard users.isEmpty else {
      throw EngineError(
        .wrongState,
        "the kernel \(record.kernel.name) is used by the VM \(users.map(\.metadata.name).joined(separator: ", "))",
        advice: "remove the VM first: ignite rm \(users[0].metadata.name)")
    }
    guard let object = try await store.get(kind: Self.kernelKind, namespace: "", name: record.kernel.name) else {
      return record.kernel
    }
    try await store.delete(uid: object.uid)
    CrashPoint.pass(.kernelForgotten)
    let left = try await kernelRecords()
    if record.isDefault == true { try await store.setSetting(Self.defaultKernelKey, left.first?.kernel.name) }
    // The same kernel may have been imported under two names.
    if !left.contains(where: { $0.kernel.digest == record.kernel.digest }) {
      let kernels = KernelStore(root: paths.data)
      try await removeTemplates(ofKernel: record.kernel.digest)
      try await ThreadExecutor.run { () throws(ImageError) in try kernels.remove(record.kernel.digest) }
    }
    return record.kernel
  }
}
