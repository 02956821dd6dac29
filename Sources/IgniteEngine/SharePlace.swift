internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// Where the daemon of a host's directory runs. Root's runs as root, in a name space of its own; another user's in a user
/// name space in which he is root, with his subordinate numbers as the other users.
enum SharePlace {
  /// What starts it there.
  /// - Throws: EngineError where the host gives the user none.
  static func wrapper() throws -> [String] {
    guard getuid() != 0 else { return [] }
    let program = "/usr/bin/unshare"
    guard access(program, X_OK) == 0 else {
      throw EngineError(
        .unavailable, "directories of the host need \(program) for a user who is not root", advice: "install util-linux"
      )
    }
    let words = [program, "--user", "--map-root-user", "--mount"]
    if hasSubordinates { return words + ["--map-auto", "--"] }
    // The daemon gives up its supplementary groups, which a name space of one user is not allowed to.
    guard getgroups(0, nil) == 0 else {
      throw EngineError(
        .unavailable, "directories of the host need subordinate user ids for a user who is not root",
        advice:
          "install uidmap, and have root run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER")
    }
    return words + ["--"]
  }

  /// subuid(5), newuidmap(1).
  private static var hasSubordinates: Bool {
    guard access("/usr/bin/newuidmap", X_OK) == 0, access("/usr/bin/newgidmap", X_OK) == 0 else { return false }
    let name = getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) }
    return ["/etc/subuid", "/etc/subgid"].allSatisfy { path in
      guard let data = FileManager.default.contents(atPath: path) else { return false }
      return String(decoding: data, as: UTF8.self).split(separator: "\n").contains { line in
        let owner = line.prefix { $0 != ":" }
        return owner == name ?? "" || owner == "\(getuid())"
      }
    }
  }
}
