internal import FoundationEssentials
internal import Glibc

extension KernelTree {
  /// Applies an image's layer, keeping the content of what a kernel needs in `directory`. Blocking.
  ///
  /// - Parameters:
  ///   - tar: the unpacked layer.
  ///   - check: is told the bytes kept; may throw to stop.
  mutating func apply(
    _ tar: any ByteSource, into directory: String, _ check: (UInt64) throws(ImageError) -> Void
  ) throws(ImageError) {
    var limits = TarLimits()
    limits.fileBytes = 1 << 40
    let reader = TarReader(tar, limits: limits)
    var total: UInt64 = 0
    while let entry = try reader.next() {
      guard let path = String(validating: entry.path, as: UTF8.self) else { continue }
      try check(total)
      let parts = path.split(separator: "/")
      let (base, folder) = (parts.last ?? "", parts.dropLast().joined(separator: "/"))
      if base == ".wh..wh..opq" {
        if let name = Self.name(folder) { try remove(name, onlyBelow: true) }
      } else if base.hasPrefix(".wh.") {
        if let name = Self.name("\(folder)/\(base.dropFirst(4))") { try remove(name) }
      } else if let name = Self.name(path), name.contains("/"), name != "lib/modules" {
        // What is no directory takes the place of one, with all below it.
        if entry.kind != .directory { try remove(name, onlyBelow: true) }
        try take(entry, name, reader, into: directory, &total)
      }
    }
    endLayer()
  }

  private mutating func take(
    _ entry: TarEntry, _ name: String, _ reader: TarReader, into directory: String, _ total: inout UInt64
  ) throws(ImageError) {
    switch entry.kind {
    case .file:
      total += entry.size
      guard entry.size <= 1 << 30, total <= DebianPackage.dataLimit else {
        throw ImageError(.limitExceeded, "\(displayName(name.utf8)) is larger than what belongs to a kernel")
      }
      let path = "\(directory)/\(nodes.count)-\(UInt64.random(in: 0 ... .max))"
      let size = try SparseFile.write(reader.data, to: path)
      try add(name, .file(path: path, size: size))
    case .symbolicLink:
      guard let target = String(validating: entry.linkTarget, as: UTF8.self) else { return }
      try add(name, .link(target))
    case .hardLink:
      guard let target = String(validating: entry.linkTarget, as: UTF8.self), let name2 = Self.name(target),
        let node = current(name2)
      else {
        throw ImageError(.corrupt, "\(displayName(name.utf8)) is a link to a file that is not there")
      }
      try add(name, node)
    case .directory, .fifo, .characterDevice, .blockDevice: return
    }
  }

  /// The modules of a folder of the host: `/lib/modules/VERSION`, or the one above it. Blocking.
  ///
  /// - Throws: `notFound` where the folder holds no modules of that version.
  static func modules(in folder: String, version: String) throws(ImageError) -> KernelTree {
    guard access(folder, R_OK | X_OK) == 0 else { throw .system("open", folder) }
    var root = folder
    if access("\(folder)/\(version)", F_OK) == 0 {
      root = "\(folder)/\(version)"
    } else if !["kernel", "modules.order", "modules.builtin", "modules.dep"].contains(where: {
      access("\(folder)/\($0)", F_OK) == 0
    }) {
      let names = try directoryEntries(folder).sorted().prefix(10).map { displayName($0.utf8) }
      throw ImageError(
        .notFound, "\(folder) holds no modules of \(displayName(version.utf8))",
        advice: names.isEmpty ? "name a folder /lib/modules/VERSION" : "it has \(names.joined(separator: ", "))")
    }
    var tree = KernelTree()
    try tree.walk(root, "lib/modules/\(version)", depth: 0)
    tree.endLayer()
    return tree
  }

  private mutating func walk(_ folder: String, _ name: String, depth: Int) throws(ImageError) {
    guard depth < 64 else { throw ImageError(.limitExceeded, "\(folder) is too deep for modules") }
    for entry in try directoryEntries(folder).sorted() {
      // Links to the sources that the modules were built from.
      if depth == 0, entry == "build" || entry == "source" { continue }
      let path = "\(folder)/\(entry)"
      var status = stat()
      if lstat(path, &status) != 0 { throw .system("read", path) }
      switch status.st_mode & S_IFMT {
      case S_IFDIR: try walk(path, "\(name)/\(entry)", depth: depth + 1)
      case S_IFREG: try add("\(name)/\(entry)", .file(path: path, size: UInt64(status.st_size)))
      case S_IFLNK:
        if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path) {
          try add("\(name)/\(entry)", .link(target))
        }
      default: continue
      }
    }
  }
}
