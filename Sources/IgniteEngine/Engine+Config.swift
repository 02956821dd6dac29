internal import FoundationEssentials
internal import IgniteAPI
internal import IgniteArchive
public import IgniteImages
internal import IgniteOCI
internal import IgniteStore
internal import IgniteSupervisor
public import IgniteSystem
internal import IgniteWire

/// What a VM is given at a start: files, as an archive that its guest unpacks, and variables.
struct GivenConfig: Sendable {
  /// Of files and values together, in bytes: they go to the supervisor with its plan, and stay in its memory.
  static let mostBytes = 2 << 20

  /// An archive of paths below the guest's root; nil where there is no file.
  var archive: Data?
  var environment: [String] = []
  /// What it was made of: title, and UID and generation.
  var versions: [String: String] = [:]
}

extension Engine {
  /// Reads what the VM is to be given, as it is now.
  /// - Throws: `notFound` for an object or a key that is not there and is not optional.
  func givenConfig(of vm: VM) async throws -> GivenConfig {
    let spec = vm.spec
    var given = GivenConfig()
    guard spec.files?.isEmpty == false || spec.process.envFrom?.isEmpty == false || spec.volumes != nil else {
      return given
    }
    var loaded: [String: ConfigData] = [:]
    func data(_ kind: String, _ name: String, optional: Bool?, for use: String) async throws -> ConfigData? {
      let title = "\(kind)/\(name)"
      if let known = loaded[title] { return known }
      guard let object = try await declared(kind: kind, name: name) else {
        if optional == true { return nil }
        throw EngineError(
          .notFound, "there is no \(title), which the VM \"\(vm.metadata.name)\" is given \(use)",
          advice: "apply it first, or say that it is optional")
      }
      let data = ConfigData(kind: kind, spec: object.spec)
      given.versions[title] = object.configVersion
      loaded[title] = data
      return data
    }
    func missing(_ key: String, _ title: String, _ use: String) -> EngineError {
      EngineError(
        .notFound, "\(title) has no key \"\(key)\", which the VM \"\(vm.metadata.name)\" is given \(use)",
        advice: "put it there, or say that it is optional")
    }

    var files = GivenFiles()
    for mount in spec.volumes ?? [] {
      for (kind, use) in [(ConfigMap.kind, mount.configMap), (Secret.kind, mount.secret)] {
        guard let use, let data = try await data(kind, use.name, optional: use.optional, for: "at \(mount.mountPath)")
        else { continue }
        let items =
          use.items ?? data.values.keys.sorted().map { ConfigFiles.Item(key: $0, path: $0) }
        for item in items {
          guard let bytes = data.values[item.key] else {
            if use.optional == true { continue }
            throw missing(item.key, "\(kind)/\(use.name)", "at \(mount.mountPath)")
          }
          try files.add(bytes, at: mount.mountPath + "/" + item.path, mode: use.mode, owner: use.owner)
        }
      }
    }
    for file in spec.files ?? [] {
      var bytes = file.content.map { Array($0.utf8) }
      for (kind, use) in [(ConfigMap.kind, file.configMap), (Secret.kind, file.secret)] {
        guard let use else { continue }
        guard let data = try await data(kind, use.name, optional: use.optional, for: "as \(file.path)") else {
          continue
        }
        bytes = data.values[use.key]
        if bytes == nil, use.optional != true { throw missing(use.key, "\(kind)/\(use.name)", "as \(file.path)") }
      }
      if let bytes { try files.add(bytes, at: file.path, mode: file.mode, owner: file.owner) }
    }
    var size = 0
    for variables in spec.process.envFrom ?? [] {
      for (kind, use) in [(ConfigMap.kind, variables.configMap), (Secret.kind, variables.secret)] {
        guard let use, let data = try await data(kind, use.name, optional: use.optional, for: "as variables") else {
          continue
        }
        let chosen = variables.variables ?? Self.variables(data)
        for (name, key) in chosen.sorted(by: { $0.key < $1.key }) {
          guard let bytes = data.values[key] else {
            if use.optional == true { continue }
            throw missing(key, "\(kind)/\(use.name)", "as a variable")
          }
          guard !bytes.contains(0), let value = String(validating: bytes, as: UTF8.self) else {
            throw EngineError(
              .invalidArgument, "the key \"\(key)\" of \(kind)/\(use.name) is no text, and cannot be a variable",
              advice: "give it as a file, or leave it out: variables: {NAME: KEY}")
          }
          size += bytes.count
          given.environment.append("\(variables.prefix ?? "")\(name)=\(value)")
        }
      }
    }
    guard size + files.size <= GivenConfig.mostBytes else {
      throw EngineError(
        .invalidArgument,
        "the VM \"\(vm.metadata.name)\" is given files and variables of \((size + files.size) >> 10) KiB, and \(GivenConfig.mostBytes >> 10) KiB are possible",
        advice: "put what is larger on a volume, or in the image")
    }
    given.archive = try await files.archive()
    return given
  }

  /// The keys that a variable can have as its name, of texts; others are left out, as Kubernetes does.
  private static func variables(_ data: ConfigData) -> [String: String] {
    let good = data.values.filter { key, bytes in
      ConfigData.isVariable(key) && !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
    }
    return Dictionary(uniqueKeysWithValues: good.keys.map { ($0, $0) })
  }

  /// Checks what can be known of it when a VM is made: places, modes, owners, and that each has one source.
  static func check(_ files: [GivenFile]?, _ mounts: [VolumeMount]?, _ variables: [ConfigVariables]?) throws {
    var paths: Set<String> = []
    for file in files ?? [] {
      let path = try GivenFiles.path(file.path)
      guard paths.insert(path).inserted else { throw EngineError(.invalidArgument, "two files are given at \(path)") }
      let sources = [file.content != nil, file.configMap != nil, file.secret != nil].count { $0 }
      guard sources == 1 else {
        throw EngineError(
          .invalidArgument, "the file \(path) has \(sources) sources", advice: "give content, or configMap, or secret")
      }
      _ = try GivenFiles.attributes(file.mode, file.owner, path)
    }
    for mount in mounts ?? [] {
      for use in [mount.configMap, mount.secret].compactMap(\.self) {
        for item in use.items ?? [] { _ = try GivenFiles.path(mount.mountPath + "/" + item.path) }
        _ = try GivenFiles.attributes(use.mode, use.owner, mount.mountPath)
      }
    }
    for use in variables ?? [] {
      guard (use.configMap == nil) != (use.secret == nil) else {
        throw EngineError(.invalidArgument, "envFrom names one ConfigMap or one Secret each")
      }
      for name in [use.prefix].compactMap(\.self) + (use.variables ?? [:]).keys {
        guard !name.isEmpty, !name.contains("="), !name.utf8.contains(0) else {
          throw EngineError(.invalidArgument, "\"\(name)\" cannot be a variable's name")
        }
      }
    }
  }

  // MARK: Images and kernels as objects

  /// - Parameter spec: of a manifest of kind Image.
  public func importImage(
    named name: String, _ spec: JSONValue, progress: @escaping @Sendable (ImportProgress) -> Void
  ) async throws {
    let platform = try spec["platform"]?.string.map { (text) throws(OCIError) in try Platform(text) }
    _ = try await importImage(
      spec["oci"]?.string ?? "", name: name, platform: platform, keepsLayers: spec["keepBlobs"]?.bool,
      progress: progress)
  }

  /// - Parameter spec: of a manifest of kind Kernel.
  public func importKernel(
    named name: String, _ spec: JSONValue, progress: @escaping @Sendable (KernelImportProgress) -> Void
  ) async throws {
    _ = try await importKernel(
      spec["oci"]?.string ?? "", modules: spec["modules"]?.string, name: name,
      makeDefault: spec["default"]?.bool ?? false, progress: progress)
  }
}
