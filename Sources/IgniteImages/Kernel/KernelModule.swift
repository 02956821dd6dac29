/// What a kernel module says of itself: the strings of its `.modinfo` section and the symbols that it exports.
struct KernelModule: Sendable {
  /// The most bytes that one module may have.
  static let sizeLimit = 64 << 20
  /// The endings that modules have; a packed one holds the same ELF file.
  static let suffixes = [".ko", ".ko.xz", ".ko.gz", ".ko.zst"]

  /// The name that the kernel knows it by: the file's name with `_` for `-`.
  var name: String
  /// The path below `lib/modules/VERSION`.
  var path: String
  /// The modules that it needs directly, as `depends=` lists them.
  var dependencies: [String] = []
  var aliases: [String] = []
  /// What it wants loaded before or after, as `softdep=` says it.
  var softDependencies: [String] = []
  var symbols: [String] = []
  /// The release of the kernel that it was built for: the first word of `vermagic=`.
  var release: String?

  /// The name of a module's file without its ending, in the kernel's spelling; nil when this is no module's file.
  static func name(ofFile file: some StringProtocol) -> String? {
    let base = String(file.split(whereSeparator: { $0 == "/" }).last ?? "")
    guard let suffix = suffixes.first(where: { base.hasSuffix($0) }) else { return nil }
    return String(base.dropLast(suffix.count).map { $0 == "-" ? "_" : $0 })
  }

  /// A module's ELF file, unpacked.
  ///
  /// - Throws: `limitExceeded`, `corrupt`, or `unsupported` for a packing not known here.
  static func unpacked(_ stored: [UInt8]) throws(ImageError) -> [UInt8] {
    let source: any ByteSource
    switch Compression.detect(stored) {
    case .none: return stored
    case .xz: source = try XZByteSource(MemoryByteSource(stored), limit: UInt64(sizeLimit), concatenated: true)
    case .gzip: source = GzipByteSource(MemoryByteSource(stored), limit: UInt64(sizeLimit))
    case .zstd: source = try ZstdByteSource(MemoryByteSource(stored), limit: UInt64(sizeLimit))
    case .bzip2:
      throw ImageError(.unsupported, "the module is packed with bzip2, which the kernel itself cannot unpack")
    }
    return try source.readAll(limit: sizeLimit)
  }

  /// A module that says nothing.
  init(name: String, path: String) {
    self.name = name
    self.path = path
  }

  /// Reads what an unpacked module says.
  init(path: String, name: String, elf bytes: [UInt8]) throws(ImageError) {
    self.name = name
    self.path = path
    let elf = try ELF64(bytes)
    guard elf.machine == ELF64.machineX86_64 else { throw ImageError(.unsupported, "it is not a module for x86-64") }
    for section in try elf.sections() {
      switch section.name {
      case ".modinfo": readInformation(try elf.bytes(of: section, what: "the module's information"))
      case ".strtab": readSymbols(try elf.bytes(of: section, what: "the symbols' names"))
      default: continue
      }
    }
  }

  private mutating func readInformation(_ bytes: [UInt8]) {
    for item in bytes.split(separator: 0) {
      let text = String(decoding: item, as: UTF8.self)
      guard let equals = text.firstIndex(of: "=") else { continue }
      let value = String(text[text.index(after: equals)...])
      // A line feed would forge lines of modules.dep and its kin.
      guard !value.utf8.contains(0x0a), !value.isEmpty else { continue }
      switch text[..<equals] {
      case "depends": dependencies += value.split(separator: ",").map { String($0.map { $0 == "-" ? "_" : $0 }) }
      case "alias": aliases.append(value)
      case "vermagic": release = value.split(separator: " ").first.map(String.init)
      case "softdep": softDependencies.append(value)
      default: continue
      }
    }
  }

  /// Every exported symbol has a local symbol with a prefix before its name (include/linux/export-internal.h).
  private mutating func readSymbols(_ strings: [UInt8]) {
    let prefix = Array("__ksymtab_".utf8)
    var start = 0
    while start < strings.count {
      let end = strings[start...].firstIndex(of: 0) ?? strings.count
      if end - start > prefix.count, strings[start] == prefix[0], strings[start..<end].starts(with: prefix) {
        symbols.append(displayName(strings[(start + prefix.count)..<end]))
      }
      start = end + 1
    }
  }
}
