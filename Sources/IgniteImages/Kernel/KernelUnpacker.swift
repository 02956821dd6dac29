internal import Glibc

/// What a kernel's files are made from.
struct KernelFiles {
  /// What it is, in an error's words: `the package linux-image-6.1.0-56-cloud-amd64`.
  var what: String
  /// What names the content of the modules' disk.
  var identity: String
  /// A kernel that is unpacked already; nil where it is to be found among the files.
  var kernel: Kernel?
  /// The files as an unpacked tar stream, from its beginning, each time anew.
  var open: () throws(ImageError) -> any ByteSource

  /// An unpacked kernel.
  struct Kernel {
    var version: String
    var size: UInt64
    var scan: KernelScan
    /// nil where nothing tells it.
    var configuration: KernelConfiguration?
  }

  init(_ package: DebianPackage) {
    what = "the package \(displayName(package.name.utf8))"
    identity = "modules of \(package.name) \(package.version)"
    open = { () throws(ImageError) in try package.files() }
  }

  init(what: String, identity: String, kernel: Kernel, open: @escaping () throws(ImageError) -> any ByteSource) {
    self.what = what
    self.identity = identity
    self.kernel = kernel
    self.open = open
  }
}

/// Makes a kernel's files, in one pass over what they are made from: `vmlinux`, `modules.ext4`, `modules.cpio`.
/// Everything blocks.
struct KernelUnpacker {
  /// What the package turned out to hold.
  struct Result {
    var version: String
    var facts: KernelFacts
    var vmlinuxSize: UInt64
    var moduleCount: Int
    var modulesArchive: [UInt8]
    var initrdModules: [String]
  }

  /// The most bytes of `modules.order` and its kin.
  private static let listLimit = 16 << 20
  /// The most bytes of all modules of an initrd.
  private static let initrdLimit = 128 << 20
  /// Made here; a package's own would speak of other paths or be out of date.
  private static let generated: Set<String> = [
    "modules.dep", "modules.dep.bin", "modules.alias", "modules.alias.bin", "modules.symbols", "modules.symbols.bin",
    "modules.softdep", "modules.devname", "modules.builtin.bin", "modules.builtin.alias.bin",
  ]

  private let files: KernelFiles
  private let directory: String
  private let check: (UInt64) throws(ImageError) -> Void

  private var version: String?
  private var vmlinuxSize: UInt64?
  private var configuration: KernelConfiguration?
  private var modulesVersion: String?
  private var disk: BaseDiskBuilder?
  private var modules: [KernelModule] = []
  private var informationSize = 0
  private var lists: [String: [UInt8]] = [:]
  private var kept: [String: [UInt8]] = [:]

  /// - Parameters:
  ///   - files: what the kernel is made from.
  ///   - directory: a directory to make the files in, empty but for a kernel that is unpacked already.
  ///   - check: is told the unpacked bytes so far, every now and then; may throw to stop.
  init(
    _ files: KernelFiles, into directory: String, check: @escaping (UInt64) throws(ImageError) -> Void
  ) {
    self.files = files
    version = files.kernel?.version
    vmlinuxSize = files.kernel?.size
    configuration = files.kernel?.configuration
    self.directory = directory
    self.check = check
  }

  /// Does it all.
  ///
  /// - Throws: `notFound` where the package holds no kernel, `corrupt`, `unsupported`, `limitExceeded`, `noSpace`, `io`,
  ///   and what `check` throws.
  mutating func run() throws(ImageError) -> Result {
    try readPackage()
    guard let version, let vmlinuxSize else {
      throw ImageError(
        .notFound, "it holds no kernel: there is no boot/vmlinuz-VERSION in it",
        advice: "name a package linux-image-VERSION, e.g. apt:linux-image-cloud-amd64")
    }
    guard configuration != nil || files.kernel != nil else {
      throw ImageError(.corrupt, "it holds no boot/config-\(version)")
    }
    guard modulesVersion == nil || modulesVersion == version else {
      throw ImageError(.corrupt, "its kernel is \(version) and its modules are those of \(modulesVersion ?? "")")
    }
    try checkRelease(version)
    try KernelImage.check("\(directory)/vmlinux")

    let tree = moduleTree()
    var builtin: [ModuleIndex.File] = []
    if let disk {
      let files = try ModuleIndex.files(of: tree, builtinInformation: lists["modules.builtin.modinfo"] ?? [])
      if tree.modules.isEmpty {
        // What is built in is told by some small files, which are worth no disk.
        self.disk = nil
        unlink("\(directory)/modules.ext4")
        builtin = files + lists.map { ModuleIndex.File(name: $0.key, bytes: $0.value) }.sorted { $0.name < $1.name }
      } else {
        for file in files {
          try disk.addFile(file.name, FileAttributes(mode: 0o644), data: MemoryByteSource(file.bytes))
        }
        try disk.finish()
      }
    }
    let chosen = try InitrdModules.select(from: tree)
    try keepMissing(of: chosen)
    let (archive, names) = try archive(chosen, builtin)
    return Result(
      version: version, facts: facts(tree), vmlinuxSize: vmlinuxSize, moduleCount: tree.modules.count,
      modulesArchive: archive, initrdModules: names)
  }

  /// Modules of another build would be refused by the kernel, one after the other.
  private func checkRelease(_ version: String) throws(ImageError) {
    guard let module = modules.first(where: { $0.release.map { $0 != version } ?? false }) else { return }
    throw ImageError(
      .corrupt,
      "its kernel is \(displayName(version.utf8)), and the module \(displayName(module.name.utf8)) was built for "
        + displayName((module.release ?? "").utf8), advice: "take kernel and modules of one build")
  }

  private func facts(_ tree: ModuleTree) -> KernelFacts {
    if let configuration { return KernelFacts(configuration) }
    return KernelFacts(tree, files.kernel?.scan)
  }

  // MARK: - The package's files

  /// What a member of the package is, by its path.
  private enum Part {
    case kernel(version: String)
    case configuration
    /// The path below `lib/modules/VERSION`; empty for that directory itself.
    case module(version: String, path: String)
    case other
  }

  private static func part(_ path: [UInt8]) -> Part {
    guard let text = String(validating: path, as: UTF8.self) else { return .other }
    var parts = text.split(separator: "/")[...]
    if parts.first == "." { parts.removeFirst() }
    guard !parts.contains(".."), !parts.contains(".") else { return .other }
    if parts.count == 2, parts.first == "boot", let name = parts.last {
      if name.hasPrefix("vmlinuz-") { return .kernel(version: String(name.dropFirst("vmlinuz-".count))) }
      if name.hasPrefix("config-") { return .configuration }
    }
    if parts.first == "usr" { parts.removeFirst() }
    guard parts.count >= 3, parts.starts(with: ["lib", "modules"]) else { return .other }
    parts = parts.dropFirst(2)
    return .module(version: String(parts.removeFirst()), path: parts.joined(separator: "/"))
  }

  private mutating func readPackage() throws(ImageError) {
    let reader = try reader()
    while let entry = try reader.next() {
      do throws(ImageError) {
        switch Self.part(entry.path) {
        case .kernel(let version) where entry.kind == .file: try readKernel(version, reader)
        case .configuration where entry.kind == .file:
          configuration = KernelConfiguration(try reader.data.readAll(limit: KernelConfiguration.sizeLimit))
        case .module(let version, let path): try readModulesEntry(entry, version, path, reader)
        case .kernel, .configuration, .other: continue
        }
      } catch {
        throw error.code == .cancelled ? error : error.of(entry.displayPath)
      }
    }
  }

  private func reader() throws(ImageError) -> TarReader {
    var limits = TarLimits()
    limits.entries = 200_000
    limits.fileBytes = 1 << 30
    let source = try files.open()
    var total: UInt64 = 0
    var told: UInt64 = 0
    let check = check
    return TarReader(
      ClosureByteSource { (buffer) throws(ImageError) in
        let count = try source.read(into: buffer)
        total += UInt64(count)
        if total - told >= 1 << 20 {
          told = total
          try check(total)
        }
        return count
      }, limits: limits)
  }

  private mutating func readKernel(_ version: String, _ reader: TarReader) throws(ImageError) {
    guard self.version == nil else { throw ImageError(.unsupported, "it holds more than one kernel") }
    guard Self.isVersion(version) else {
      throw ImageError(.corrupt, "the kernel's version is none")
    }
    self.version = version
    vmlinuxSize = try KernelImage.unpack(reader.data, to: "\(directory)/vmlinux")
  }

  static func isVersion(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 64 && text.utf8.allSatisfy(isVersionByte) && text != "." && text != ".."
  }

  private static func isVersionByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "+-._~".utf8.contains(byte)
    }
  }

  private mutating func readModulesEntry(
    _ entry: TarEntry, _ version: String, _ path: String, _ reader: TarReader
  ) throws(ImageError) {
    guard modulesVersion == nil || modulesVersion == version else {
      throw ImageError(.unsupported, "it holds the modules of more than one kernel")
    }
    // Links to the sources that the modules were built from, which a guest lacks.
    if path == "build" || path == "source" || Self.generated.contains(path) { return }
    let disk = try modulesDisk()
    modulesVersion = version
    var entry = entry
    entry.path = Array(path.utf8)
    entry.attributes.uid = 0
    entry.attributes.gid = 0
    switch entry.kind {
    case .directory, .symbolicLink: try disk.add(entry)
    case .file where KernelModule.name(ofFile: path) != nil: try readModule(entry, path, reader, disk)
    case .file where path.hasPrefix("modules.") && !path.contains("/"):
      let bytes = try reader.data.readAll(limit: Self.listLimit)
      lists[path] = bytes
      try disk.addFile(path, entry.attributes, data: MemoryByteSource(bytes))
    case .file: try disk.add(entry, data: reader)
    default: throw ImageError(.unsupported, "such a file has no place among modules")
    }
  }

  private mutating func modulesDisk() throws(ImageError) -> BaseDiskBuilder {
    if let disk { return disk }
    var options = BaseDiskBuilder.Options(identity: files.identity)
    options.label = "ignite-modules"
    options.maximumInodes = 250_000
    options.maximumBytes = DebianPackage.dataLimit
    let disk = try BaseDiskBuilder(path: "\(directory)/modules.ext4", options: options)
    self.disk = disk
    return disk
  }

  private mutating func readModule(
    _ entry: TarEntry, _ path: String, _ reader: TarReader, _ disk: BaseDiskBuilder
  ) throws(ImageError) {
    guard modules.count < ModuleTree.moduleLimit, let name = KernelModule.name(ofFile: path) else {
      throw ImageError(.limitExceeded, "it has more than \(ModuleTree.moduleLimit) modules")
    }
    guard !name.isEmpty, !path.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) else {
      throw ImageError(.corrupt, "no module can have such a name")
    }
    let stored = try reader.data.readAll(limit: KernelModule.sizeLimit)
    let content = try KernelModule.unpacked(stored)
    let module = try KernelModule(path: path, name: name, elf: content)
    informationSize += module.informationSize
    guard informationSize <= ModuleTree.informationLimit else {
      throw ImageError(
        .limitExceeded, "the modules say more than \(ModuleTree.informationLimit >> 20) MiB of themselves")
    }
    modules.append(module)
    if InitrdModules.likely.contains(name) { kept[path] = content }
    try disk.addFile(path, entry.attributes, data: MemoryByteSource(stored))
  }

  // MARK: - The initrd's modules

  private func moduleTree() -> ModuleTree {
    func lines(_ name: String) -> [Substring] {
      String(decoding: lists[name] ?? [], as: UTF8.self).split(separator: "\n")
    }
    // A kernel without modules has no list of what is built in.
    let builtin = InitrdModules.rows.filter { configuration?.isBuiltIn($0.option) ?? false }
      .map { Substring($0.name + ".ko") }
    return ModuleTree(modules, order: lines("modules.order"), builtin: lines("modules.builtin") + builtin)
  }

  /// Reads the package once more for modules that nobody expected in an initrd.
  private mutating func keepMissing(of chosen: [KernelModule]) throws(ImageError) {
    var missing = Set(chosen.map(\.path)).subtracting(kept.keys)
    if missing.isEmpty { return }
    let reader = try reader()
    while !missing.isEmpty, let entry = try reader.next() {
      guard entry.kind == .file, case .module(_, let path) = Self.part(entry.path), missing.contains(path) else {
        continue
      }
      kept[path] = try KernelModule.unpacked(try reader.data.readAll(limit: KernelModule.sizeLimit))
      missing.remove(path)
    }
  }

  private func archive(
    _ chosen: [KernelModule], _ builtin: [ModuleIndex.File]
  ) throws(ImageError) -> ([UInt8], [String]) {
    var items: [(module: KernelModule, content: [UInt8])] = []
    var size = builtin.reduce(0) { $0 + $1.bytes.count }
    for module in chosen {
      let content = kept[module.path] ?? []
      size += content.count
      guard size <= Self.initrdLimit else {
        throw ImageError(.limitExceeded, "the modules for the initrd have more than \(Self.initrdLimit >> 20) MiB")
      }
      items.append((module, content))
    }
    return KernelStore.modulesArchive(items, builtin: builtin)
  }
}

extension KernelModule {
  /// The bytes of all that it says of itself.
  fileprivate var informationSize: Int {
    [dependencies, aliases, softDependencies, symbols].joined().reduce(0) { $0 + $1.utf8.count + 16 }
  }
}
