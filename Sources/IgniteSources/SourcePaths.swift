/// Which files of a source are read.
enum SourcePaths {
  /// The most paths of one source, and the most bytes of one.
  static let most = 64
  static let longest = 1024

  /// Paths in one form: without `./`, doubled or trailing slashes; the root is "". What is below another of them is left out.
  ///
  /// - Throws: SourceError for a path that leads out, or cannot be a path.
  static func normalized(_ paths: [String]) throws(SourceError) -> [String] {
    guard paths.count <= most else { throw SourceError(.badSource, "a source may have \(most) paths") }
    var result: Set<String> = []
    for path in paths.isEmpty ? ["."] : paths {
      let parts = path.split(separator: "/").filter { $0 != "." }
      guard path.utf8.count <= longest, !Words.hasControl(path), !parts.contains("..") else {
        throw SourceError(
          .badSource, "the path \(Words.clean(path)) leads out of the source, or is no path",
          advice: "name a directory or a file of it, as deploy/production")
      }
      result.insert(parts.joined(separator: "/"))
    }
    return result.filter { path in !result.contains { $0 != path && ($0.isEmpty || path.hasPrefix($0 + "/")) } }
      .sorted()
  }

  /// Whether a file is read: its name ends in `.yaml`, `.yml` or `.json`, and nothing below `prefix` starts with a dot.
  ///
  /// Names with a dot at the front are tools' own (`.github`, `.gitlab-ci.yml`), and editors' temporary files.
  static func isManifest(_ path: String, below prefix: String = "") -> Bool {
    guard !isHidden(path, below: prefix) else { return false }
    let name = path.split(separator: "/").last ?? ""
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { return false }
    return ["yaml", "yml", "json"].contains(name[name.index(after: dot)...].lowercased())
  }

  static func isHidden(_ path: String, below prefix: String = "") -> Bool {
    if path == prefix { return false }
    let rest = !prefix.isEmpty && path.hasPrefix(prefix + "/") ? path.dropFirst(prefix.count + 1) : path[...]
    return rest.split(separator: "/").contains { $0.hasPrefix(".") }
  }
}
