import CGuest

/// /dev, /proc and /sys: mounted once, before the host has said which VM this is, and moved into its root.
enum KernelFileSystems {
  private static let data = UInt(MS_NOSUID | MS_NODEV)
  /// Mounts that are to be moved, by where they go; empty for a kernel that cannot move them (before Linux 5.2).
  /// Unsafe, as all such in this program: it has one thread.
  nonisolated(unsafe) private static var mounts: [(target: String, descriptor: Int32)] = []

  /// At the root that is there at boot.
  static func mount() {
    for (type, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
      _ = guest_mkdir(target, 0o755)
      if guest_mount(type, target, type, flags(of: type), nil) != 0 {
        Console.log("mount " + target + ": " + errorText(guest_errno()))
      }
    }
    guard guest_can_move_mounts() != 0 else { return }
    mountInner()
    for target in ["/dev", "/proc", "/sys"] { keep(target, for: target) }
  }

  /// Takes a mount along, to `target` in the new root.
  static func keep(_ path: String, for target: String) {
    let descriptor = guest_open_mount(path)
    if descriptor >= 0 { mounts.append((target, descriptor)) }
  }

  static var canMove: Bool { !mounts.isEmpty }

  /// Before the new root is entered: what cannot be moved is mounted anew there.
  static func leave() {
    if canMove { return }
    for target in ["/proc", "/sys", "/dev"] { umount2(target, Int32(MNT_DETACH)) }
  }

  /// Within the new root, where paths cannot lead out of the image. /run and /tmp stay as the image has them.
  static func enter() throws(GuestError) {
    if canMove {
      for (target, descriptor) in mounts {
        var result = guest_move_mount(descriptor, target)
        if result != 0, guest_errno() == ENOENT {
          Root.makeDirectories(target)
          result = guest_move_mount(descriptor, target)
        }
        if result != 0 { throw GuestError("mount " + target + " in the image", errno: guest_errno()) }
        close(descriptor)
      }
      mounts = []
      return
    }
    for (type, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
      if attempt(type, target, flags(of: type), nil) != 0 {
        throw GuestError("mount " + target + " in the image", errno: guest_errno())
      }
    }
    mountInner()
  }

  private static func flags(of type: String) -> UInt {
    type.utf8.first == 100 ? UInt(MS_NOSUID) : data | UInt(MS_NOEXEC)
  }

  /// What a program expects below them.
  private static func mountInner() {
    check(attempt("devpts", "/dev/pts", UInt(MS_NOSUID | MS_NOEXEC), "ptmxmode=0666,mode=0620,gid=5"), "/dev/pts")
    check(attempt("tmpfs", "/dev/shm", data, "mode=1777"), "/dev/shm")
    check(attempt("mqueue", "/dev/mqueue", data | UInt(MS_NOEXEC), nil), "/dev/mqueue")
    // A kernel without control groups is no reason to fail.
    if guest_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", data | UInt(MS_NOEXEC), "nsdelegate") != 0 {
      _ = guest_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", data | UInt(MS_NOEXEC), nil)
    }
    symlink("/proc/self/fd", "/dev/fd")
    symlink("/proc/self/fd/0", "/dev/stdin")
    symlink("/proc/self/fd/1", "/dev/stdout")
    symlink("/proc/self/fd/2", "/dev/stderr")
  }

  private static func check(_ result: Int32, _ target: String) {
    if result != 0 { Console.log("mount " + target + ": " + errorText(guest_errno())) }
  }

  private static func attempt(_ type: String, _ target: String, _ flags: UInt, _ options: String?) -> Int32 {
    let result = guest_mount(type, target, type, flags, options)
    guard result != 0, guest_errno() == ENOENT, guest_mkdir(target, 0o755) == 0 else { return result }
    return guest_mount(type, target, type, flags, options)
  }
}
