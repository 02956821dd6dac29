/// The files that modprobe finds modules by, as `depmod` makes them (modules.dep(5)). Debian makes them when a kernel is
/// installed, so its packages lack them. kmod reads the binary ones only, busybox only `modules.dep` and `modules.alias`.
enum ModuleIndex {
  /// One file to be put beside the modules.
  struct File: Sendable {
    var name: String
    var bytes: [UInt8]
  }

  /// - Parameter builtinInformation: the content of `modules.builtin.modinfo`, empty where there is none.
  /// - Throws: what `ModuleTree.closures` throws.
  static func files(of tree: ModuleTree, builtinInformation: [UInt8]) throws(ImageError) -> [File] {
    var files = try dependencies(of: tree)
    files += aliases(of: tree)
    files += symbols(of: tree)
    files += builtin(tree, builtinInformation)
    files.append(softDependencies(of: tree))
    files.append(deviceNames(of: tree))
    return files
  }

  private static func dependencies(of tree: ModuleTree) throws(ImageError) -> [File] {
    var text = ""
    var index = ModuleTrie()
    for (number, closure) in try tree.closures().enumerated() {
      let module = tree.modules[number]
      let line = ([module.path + ":"] + closure.map { tree.modules[$0].path }).joined(separator: " ")
      text += line + "\n"
      index.add(module.name, line, priority: number)
    }
    return [File("modules.dep", text), File("modules.dep.bin", index)]
  }

  private static func aliases(of tree: ModuleTree) -> [File] {
    var text = "# Aliases extracted from modules themselves.\n"
    var index = ModuleTrie()
    for (number, module) in tree.modules.enumerated() {
      for alias in module.aliases {
        text += "alias \(alias) \(module.name)\n"
        if let key = normalized(alias) { index.add(key, module.name, priority: number) }
      }
    }
    return [File("modules.alias", text), File("modules.alias.bin", index)]
  }

  private static func symbols(of tree: ModuleTree) -> [File] {
    var text = "# Aliases for symbols, used by symbol_request().\n"
    var index = ModuleTrie()
    for (number, module) in tree.modules.enumerated() {
      for symbol in module.symbols {
        text += "alias symbol:\(symbol) \(module.name)\n"
        index.add("symbol:\(symbol)", module.name, priority: number)
      }
    }
    return [File("modules.symbols", text), File("modules.symbols.bin", index)]
  }

  private static func builtin(_ tree: ModuleTree, _ information: [UInt8]) -> [File] {
    var names = ModuleTrie()
    for name in tree.builtin { names.add(name, "", priority: 0) }
    // `NAME.KEY=VALUE`, each ended by a zero byte.
    var aliases = ModuleTrie()
    for item in information.split(separator: 0) {
      let text = String(decoding: item, as: UTF8.self)
      guard let dot = text.firstIndex(of: "."), let equals = text[dot...].firstIndex(of: "="),
        text[dot..<equals] == ".alias", let key = normalized(String(text[text.index(after: equals)...]))
      else { continue }
      aliases.add(key, String(text[..<dot]), priority: 0)
    }
    return [File("modules.builtin.bin", names), File("modules.builtin.alias.bin", aliases)]
  }

  private static func softDependencies(of tree: ModuleTree) -> File {
    var text = "# Soft dependencies extracted from modules themselves.\n"
    for module in tree.modules {
      for dependency in module.softDependencies { text += "softdep \(module.name) \(dependency)\n" }
    }
    return File("modules.softdep", text)
  }

  /// Device nodes whose opening loads a module: it has an alias `devname:NAME` and one with the numbers.
  private static func deviceNames(of tree: ModuleTree) -> File {
    var text = "# Device nodes to trigger on-demand module loading.\n"
    for module in tree.modules {
      var name: Substring?
      var numbers: String?
      for alias in module.aliases {
        if alias.hasPrefix("devname:") { name = alias.dropFirst("devname:".count) }
        for (prefix, kind) in [("char-major-", "c"), ("block-major-", "b")] where alias.hasPrefix(prefix) {
          let parts = alias.dropFirst(prefix.count).split(separator: "-", omittingEmptySubsequences: false)
          guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else { continue }
          numbers = "\(kind)\(major):\(minor)"
        }
      }
      if let name, let numbers { text += "\(module.name) \(name) \(numbers)\n" }
    }
    return File("modules.devname", text)
  }

  /// An alias as kmod looks it up: `_` for `-` outside of brackets; nil for one with unpaired brackets.
  static func normalized(_ alias: String) -> String? {
    var result: [UInt8] = []
    var inside = false
    for byte in alias.utf8 {
      switch byte {
      case UInt8(ascii: "["): inside = true
      case UInt8(ascii: "]"):
        guard inside else { return nil }
        inside = false
      case UInt8(ascii: "-") where !inside:
        result.append(UInt8(ascii: "_"))
        continue
      default: break
      }
      result.append(byte)
    }
    return inside ? nil : String(decoding: result, as: UTF8.self)
  }
}

extension ModuleIndex.File {
  fileprivate init(_ name: String, _ text: String) { self.init(name: name, bytes: Array(text.utf8)) }
  fileprivate init(_ name: String, _ index: ModuleTrie) { self.init(name: name, bytes: index.encoded()) }
}
