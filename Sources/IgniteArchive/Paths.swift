/// Paths as bytes.
public enum ArchivePath {
  private static let slash: UInt8 = 47
  private static let dot: UInt8 = 46

  /// The path's names, without empty ones and `.`; nil for what leads up, is too long, or holds a zero byte.
  public static func components(_ path: [UInt8]) -> [[UInt8]]? {
    guard path.count < ArchiveLimits.pathBytes, !path.contains(0) else { return nil }
    var names: [[UInt8]] = []
    for name in path.split(separator: slash) {
      if name.elementsEqual([dot]) { continue }
      guard !name.elementsEqual([dot, dot]), name.count <= ArchiveLimits.nameBytes else { return nil }
      names.append([UInt8](name))
    }
    return names
  }

  public static func joined(_ names: [[UInt8]]) -> [UInt8] {
    var path: [UInt8] = []
    for name in names {
      if !path.isEmpty { path.append(slash) }
      path += name
    }
    return path
  }

  public static func join(_ directory: [UInt8], _ name: [UInt8]) -> [UInt8] {
    if directory.isEmpty || name.isEmpty { return directory.isEmpty ? name : directory }
    return directory.last == slash ? directory + name : directory + [slash] + name
  }

  /// As Go's path.Clean has it, which docker's rules are written with: no empty names, no `.`, and `..` taken with the
  /// name before it, whatever that is.
  public static func clean(_ path: [UInt8]) -> [UInt8] {
    let rooted = path.first == slash
    var names: [[UInt8]] = []
    for name in path.split(separator: slash) {
      if name.elementsEqual([dot]) { continue }
      if name.elementsEqual([dot, dot]) {
        if let last = names.last, !last.elementsEqual([dot, dot]) {
          names.removeLast()
          continue
        }
        if rooted { continue }
      }
      names.append([UInt8](name))
    }
    let joined = joined(names)
    return rooted ? [slash] + joined : joined.isEmpty ? [dot] : joined
  }

  /// The directory and the name in it, of a path that is clean.
  public static func split(_ path: [UInt8]) -> (directory: [UInt8], name: [UInt8]) {
    guard let at = path.lastIndex(of: slash) else { return ([dot], path) }
    return (at == 0 ? [slash] : [UInt8](path[..<at]), [UInt8](path[(at + 1)...]))
  }

  /// The name under which an archive holds what is at the path: its last one, or `.` where a directory's contents are
  /// meant, as of `/`.
  public static func top(of path: [UInt8]) -> [UInt8] {
    let name = meansContents(path) ? [] : split(clean([slash] + path)).name
    return name.isEmpty ? [dot] : name
  }

  /// Whether the path ends in `/.`, or is `.`: the contents of a directory are meant, not the directory.
  public static func meansContents(_ path: [UInt8]) -> Bool {
    path.last == dot && (path.count == 1 || path[path.count - 2] == slash)
  }

  /// Whether whoever wrote the path says that it is a directory.
  public static func assertsDirectory(_ path: [UInt8]) -> Bool { path.last == slash || meansContents(path) }
}
