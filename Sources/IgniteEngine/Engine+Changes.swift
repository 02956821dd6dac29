public import IgniteAPI
internal import IgniteWire

/// A file that a VM has, or lacks, over its image.
public struct FileChange: Codable, Sendable, Equatable {
  public enum Kind: String, Codable, Sendable {
    case added = "A"
    case changed = "C"
    case deleted = "D"
  }

  public var kind: Kind
  public var path: String

  /// Ignite's own files, and what it mounts in the image.
  private static let own: Set<String> = [
    "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/machine-id", "/dev", "/proc", "/sys", "/newroot",
  ]

  /// What a guest says, NUL after each (`guest_write_changes`), in the order of the paths; nil for what has not the form.
  static func decode(_ bytes: [UInt8], mounts: [String]) -> [FileChange]? {
    guard bytes.last ?? 0 == 0 else { return nil }
    var found: [(letter: UInt8, path: String)] = []
    for record in bytes.split(separator: 0) {
      guard let letter = record.first, [65, 67, 68, 99].contains(letter), record.dropFirst().first == 47 else {
        return nil
      }
      let path = String(decoding: record.dropFirst(), as: UTF8.self)
      if own.contains(path) || isModules(path) || mounts.contains(path) { continue }
      found.append((letter, path))
    }
    found.sort { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
    // A directory of which nothing but the contents has changed counts by these, where they count. From the innermost on.
    var kept: [FileChange] = []
    var needed: Set<String> = []
    for (letter, path) in found.reversed() {
      let isMade = mounts.contains { $0.hasPrefix(path + "/") } || modules.hasPrefix(path + "/")
      if letter == 99 || (letter == 65 && isMade), !needed.contains(path) { continue }
      kept.append(
        FileChange(kind: letter == 65 ? .added : letter == 68 ? .deleted : .changed, path: path))
      if let slash = path.lastIndex(of: "/") { needed.insert(String(path[..<slash])) }
    }
    return kept.reversed()
  }

  private static let modules = "/lib/modules/"

  private static func isModules(_ path: String) -> Bool {
    for folder in [modules, "/usr" + modules] where path.hasPrefix(folder) {
      return !path.dropFirst(folder.count).contains("/")
    }
    return path == "/lib/modules" || path == "/usr/lib/modules"
  }
}

extension Engine {
  /// What a running VM has written over its image: files added, changed and deleted, in the order of their paths.
  public func changes(of vm: VM) async throws -> [FileChange] {
    let mounts = vm.spec.volumes?.map(\.mountPath) ?? []
    guard let bytes = try await listing(.changes, of: vm), let changes = FileChange.decode(bytes, mounts: mounts) else {
      throw EngineError(
        .unavailable, "the VM \"\(vm.metadata.name)\" did not tell its changes", advice: "restart it and try again")
    }
    return changes
  }
}
