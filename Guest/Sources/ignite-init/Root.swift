import CGuest
import IgniteWire

/// The root file system: the image's base disk below, the VM's writable disk above.
enum Root {
  private static let newRoot = "/newroot"
  /// What the initrd of a kernel without modules says is built in: a mount without a place.
  /// Unsafe: this program has one thread.
  nonisolated(unsafe) private static var builtinList: Int32 = -1

  /// The image's own files, which have no path in the new root. Unsafe: this program has one thread.
  nonisolated(unsafe) static var image: Int32 = -1

  static func prepare() {
    for path in [newRoot, "/lower", "/rw"] { _ = guest_mkdir(path, 0o755) }
    builtinList = guest_detached_mount("/builtin")
  }

  /// Mounts the disks and the overlay of both at /newroot.
  static func assemble(_ configuration: Configuration) throws(GuestError) {
    guard !configuration.baseDevice.isEmpty else {
      // A kernel without overlayfs has a flat copy of the base disk.
      try mountDisk(configuration.writableDevice, at: newRoot, flags: UInt(MS_NOATIME), role: "the writable disk")
      return keepWritableDisk(newRoot)
    }
    try mountDisk(configuration.baseDevice, at: "/lower", flags: UInt(MS_RDONLY), role: "the image's base disk")
    image = guest_open("/lower", O_RDONLY | O_DIRECTORY, 0)
    try mountDisk(configuration.writableDevice, at: "/rw", flags: UInt(MS_NOATIME), role: "the writable disk")
    keepWritableDisk("/rw")
    // The upper directory's owner and mode are those of the root that is seen.
    if guest_mkdir("/rw/upper", 0o755) == 0 { _ = guest_copy_owner("/lower", "/rw/upper") }
    _ = guest_mkdir("/rw/work", 0o755)
    // index=off: hard links across a copy-up break as they do under docker, and the base disk may be moved.
    // redirect_dir=on: a directory of the image can be renamed, which programs expect of a disk.
    let options = "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,index=off,redirect_dir=on"
    let mounted = withCString(Bytes(options.utf8)) { guest_mount("overlay", newRoot, "overlay", 0, $0) }
    if mounted != 0 { throw GuestError("mount the overlay of base and writable disk", errno: guest_errno()) }
  }

  private static func mountDisk(
    _ device: String, at target: String, flags: UInt, role: String
  ) throws(GuestError) {
    let path = "/dev/" + device
    if guest_mount(path, target, "ext4", flags, nil) == 0 { return }
    let error = guest_errno()
    if error == ENOENT { throw GuestError(role + " is absent: there is no " + path) }
    throw GuestError("mount " + role + " (" + path + ", ext4)", errno: error)
  }

  /// The disk has no path in the new root; this is how it is made read-only at the end.
  private static func keepWritableDisk(_ path: String) {
    PowerOff.writableDisk = guest_open(path, O_RDONLY | O_DIRECTORY, 0)
  }

  /// Makes /newroot the root of this process and of all that it starts.
  static func enter() throws(GuestError) {
    unlink("/init")
    unlink("/modules.list")
    rmdir("/modules")
    KernelFileSystems.leave()
    guard chdir(newRoot) == 0, guest_switch_root() == 0 else {
      throw GuestError("enter the new root", errno: guest_errno())
    }
  }

  /// The kernel's modules, where the kernel's own programs look for them. A VM works without them: no failure.
  static func mountModules(_ device: String) {
    guard !modulesAreMounted, !device.isEmpty || builtinList >= 0 else { return }
    let path = "/lib/modules/" + kernelRelease()
    makeDirectories(path)
    if device.isEmpty { mountBuiltinList(at: path) } else { mountModules(device, at: path) }
  }

  private static func mountBuiltinList(at path: String) {
    let flags = moduleFlags | UInt(MS_REMOUNT | MS_BIND)
    if guest_attach_mount(builtinList, path) != 0 || guest_mount("none", path, "none", flags, nil) != 0 {
      Console.log("mount the kernel's modules at " + path + ": " + errorText(guest_errno()))
    }
    close(builtinList)
    builtinList = -1
  }

  /// Mounts them before the host has said which VM this is, to be taken along.
  static func prepareModules(_ device: String) {
    guard !device.isEmpty, KernelFileSystems.canMove else { return }
    _ = guest_mkdir(earlyModules, 0o755)
    guard mountModules(device, at: earlyModules) else { return }
    KernelFileSystems.keep(earlyModules, for: "/lib/modules/" + kernelRelease())
    modulesAreMounted = true
  }

  private static let earlyModules = "/kernel-modules"
  private static let moduleFlags = UInt(MS_RDONLY | MS_NOSUID | MS_NODEV)
  /// Unsafe: this program has one thread.
  nonisolated(unsafe) private static var modulesAreMounted = false

  @discardableResult
  private static func mountModules(_ device: String, at path: String) -> Bool {
    if guest_mount("/dev/" + device, path, "ext4", moduleFlags, nil) == 0 { return true }
    Console.log("mount the kernel's modules at " + path + ": " + errorText(guest_errno()))
    return false
  }

  static func kernelRelease() -> String {
    guard let release = File.read("/proc/sys/kernel/osrelease", limit: 256) else { return "unknown" }
    return text(Bytes(release.prefix { $0 > 32 }))
  }

  /// mkdir -p; symbolic links on the way are followed.
  static func makeDirectories(_ path: String) {
    let bytes = Bytes(path.utf8)
    for index in bytes.indices where index > 0 && bytes[index] == 47 {
      _ = guest_mkdir(text(Bytes(bytes[..<index])), 0o755)
    }
    _ = guest_mkdir(path, 0o755)
  }
}
