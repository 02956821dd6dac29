/// The files that a kernel is made of, from an image's layers or a folder of the host: those below `/boot` and
/// `/lib/modules`. Names are `boot/NAME` and `lib/modules/VERSION/PATH`, wherever `/usr` stood before them; no name of an
/// image ever becomes one of the host.
struct KernelTree {
  enum Node {
    /// A regular file, whose content is in that file of the host.
    case file(path: String, size: UInt64)
    /// A symbolic link's target, as stored.
    case link(String)
  }

  /// The most files, and the most bytes of their names.
  var limit = 200_000
  var nameLimit = 32 << 20

  private(set) var nodes: [String: Node] = [:]
  /// What the layer being applied brings, and what it takes of those below.
  private var upper: [String: Node] = [:]
  private var removed: [(name: String, onlyBelow: Bool)] = []
  private var nameBytes = 0

  mutating func add(_ name: String, _ node: Node) throws(ImageError) {
    try count(name, nodes.count + upper.count)
    upper[name] = node
  }

  /// Bounds what is remembered of an image, whatever its layers say again and again.
  private mutating func count(_ name: String, _ files: Int) throws(ImageError) {
    nameBytes += name.utf8.count
    guard files < limit, nameBytes <= nameLimit else {
      throw ImageError(
        .limitExceeded,
        "there are more than \(limit) files of kernels, or \(nameLimit >> 20) MiB of their names")
    }
  }

  /// The node of a name, as it is while a layer is applied: a hard link may mean one of a layer below.
  func current(_ name: String) -> Node? { upper[name] ?? nodes[name] }

  /// Takes a name of the layers below away, and what lies below it.
  mutating func remove(_ name: String, onlyBelow: Bool = false) throws(ImageError) {
    try count(name, removed.count)
    removed.append((name, onlyBelow))
  }

  /// Ends a layer.
  mutating func endLayer() {
    let exact = Set(removed.lazy.filter { !$0.onlyBelow }.map(\.name))
    let below = Set(removed.map(\.name))
    if !below.isEmpty {
      nodes = nodes.filter { name, _ in
        if exact.contains(name) || below.contains("") { return false }
        var folder = name[...]
        while let slash = folder.lastIndex(of: "/") {
          folder = folder[..<slash]
          if below.contains(String(folder)) { return false }
        }
        return true
      }
    }
    nodes.merge(upper) { $1 }
    upper = [:]
    removed = []
  }

  /// The name here of a path of an image, which may be a directory's; nil for one that no kernel needs.
  static func name(_ path: some StringProtocol) -> String? {
    var parts = path.split(separator: "/").filter { $0 != "." }[...]
    if parts.contains("..") { return nil }
    if parts.first == "usr" { parts = parts.count == 1 ? ["lib"] : parts.dropFirst() }
    let isWanted =
      parts.first == "boot" || parts.isEmpty || parts.elementsEqual(["lib"]) || parts.starts(with: ["lib", "modules"])
    return isWanted ? parts.joined(separator: "/") : nil
  }

  /// The regular file that a name stands for, links followed within the tree.
  func file(_ name: String) -> (name: String, path: String, size: UInt64)? {
    var name = name
    for _ in 0..<16 {
      switch nodes[name] {
      case .file(let path, let size): return (name, path, size)
      case .link(let target):
        var parts = target.hasPrefix("/") ? [] : name.split(separator: "/").dropLast()
        for part in target.split(separator: "/") where part != "." {
          if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        guard let next = Self.name(parts.joined(separator: "/")) else { return nil }
        name = next
      case nil: return nil
      }
    }
    return nil
  }

  /// The versions that there are modules of.
  var versions: Set<String> {
    Set(
      nodes.keys.compactMap { name in
        guard name.hasPrefix("lib/modules/") else { return nil }
        let rest = name.dropFirst("lib/modules/".count)
        return rest.firstIndex(of: "/").map { String(rest[..<$0]) }
      })
  }

  /// The names of a version's modules and lists, in order.
  func modules(of version: String) -> [String] {
    nodes.keys.filter { $0.hasPrefix("lib/modules/\(version)/") }.sorted()
  }

  /// The one kernel: `/boot/vmlinux*` or `/boot/vmlinuz*`, or `/lib/modules/VERSION/vmlinuz`. Of several the one that is
  /// called just so, mostly a link, counts.
  ///
  /// - Throws: `notFound`, `unsupported` where there are several.
  func kernel() throws(ImageError) -> (name: String, path: String) {
    func isKernel(_ name: String) -> Bool { ["vmlinux", "vmlinuz"].contains { name.hasPrefix($0) } }
    for name in ["boot/vmlinux", "boot/vmlinuz"] {
      if let file = file(name) { return (file.name, file.path) }
    }
    var found: [String: String] = [:]
    for name in nodes.keys {
      let parts = name.split(separator: "/")
      let isCandidate =
        parts.count == 2 && parts[0] == "boot" && isKernel(String(parts[1]))
        || parts.count == 4 && parts[1] == "modules" && parts[3] == "vmlinuz"
      if isCandidate, let file = file(name) { found[file.name] = file.path }
    }
    // Of the two forms of one kernel the unpacked one is less work, and one in /boot is the one that is meant.
    for name in found.keys.sorted() {
      if name.hasPrefix("boot/vmlinux-") { found["boot/vmlinuz-" + name.dropFirst("boot/vmlinux-".count)] = nil }
    }
    if found.keys.contains(where: { $0.hasPrefix("boot/") }) { found = found.filter { $0.key.hasPrefix("boot/") } }
    guard let first = found.first else {
      throw ImageError(
        .notFound, "it holds no kernel: there is no /boot/vmlinux* or /boot/vmlinuz* in it",
        advice: "name an image of a kernel, or a package: apt:linux-image-cloud-amd64")
    }
    guard found.count == 1 else {
      let names = found.keys.sorted().prefix(10).map { "/" + displayName($0.utf8) }.joined(separator: ", ")
      throw ImageError(
        .unsupported, "it holds several kernels: \(names)", advice: "make /boot/vmlinuz a link to the one that is meant"
      )
    }
    return (first.key, first.value)
  }
}
