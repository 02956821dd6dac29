internal import CIgniteSystem
internal import Glibc

/// A mount namespace of a thread's own.
public enum MountNamespace {
  /// Leaves the others': what this thread mounts from here on, it and the programs that it starts see alone.
  public static func enterOwn() throws(SystemError) {
    if ignite_own_mounts() != 0 { throw SystemError("make a mount namespace") }
  }

  /// Makes a directory read-only here, with all that is mounted in it.
  public static func makeReadOnly(_ path: String) throws(SystemError) {
    if ignite_mount_read_only(path) != 0 { throw SystemError("make \(path) read-only") }
  }
}
