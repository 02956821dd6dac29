import CGuest
import IgniteArchive
import IgniteWire

/// What the VM has mounted beside its root.
enum Volumes {
  /// What was mounted here, to be left clean at the end. Unsafe: this program has one thread.
  nonisolated(unsafe) private static var mounted: [String] = []

  /// Within the new root, before any of the image's programs runs.
  static func mount(_ mounts: [GuestMount]) throws(GuestError) {
    for mount in mounts {
      let target = text(mount.target)
      Root.makeDirectories(target)
      // What the mount will hide, to be copied.
      let below = mount.isFilled ? guest_open(target, O_RDONLY | O_DIRECTORY, 0) : -1
      defer { if below >= 0 { close(below) } }
      switch mount.kind {
      case .disk: try mountDisk(mount, target)
      case .memory:
        if guest_mount("tmpfs", target, "tmpfs", flags(mount), mount.options) != 0 {
          throw GuestError("mount a tmpfs at " + target, errno: guest_errno())
        }
      case .share: try mountShare(mount, target)
      }
      if mount.kind == .disk { mounted.append(target) }
      if mount.isFilled { try fill(target, from: below) }
    }
  }

  /// As PID 1, when no process is left: file systems without a journal to replay.
  static func leave() {
    while let target = mounted.popLast() {
      if umount2(target, 0) == 0 { continue }
      guard chdir(target) == 0, guest_remount_here_read_only() == 0 else {
        Console.log("the volume at " + target + " stays open: " + errorText(guest_errno()))
        continue
      }
    }
    _ = chdir("/")
  }

  private static func mountDisk(_ mount: GuestMount, _ target: String) throws(GuestError) {
    if guest_mount("/dev/" + mount.source, target, "ext4", flags(mount), mount.options) == 0 { return }
    let error = guest_errno()
    // A volume is ext4; a device of the host may have another, of those that the kernel knows now.
    for type in ["xfs", "btrfs", "vfat", "iso9660", "squashfs", "erofs"] {
      if guest_mount("/dev/" + mount.source, target, type, flags(mount), mount.options) == 0 { return }
    }
    let what = "mount " + mount.source + " at " + target
    if error == EROFS || error == EACCES, mount.readOnly {
      throw GuestError(what + ": it was not left clean; start a VM once that may write to it", errno: error)
    }
    throw GuestError(what, errno: error)
  }

  private static func mountShare(_ mount: GuestMount, _ target: String) throws(GuestError) {
    if guest_mount(mount.source, target, "virtiofs", flags(mount), nil) == 0 { return }
    if guest_errno() == ENODEV {
      for name in ["fuse", "virtiofs"] {
        Modules.insert("/lib/modules/" + Root.kernelRelease() + "/kernel/fs/fuse/" + name + ".ko")
      }
      if guest_mount(mount.source, target, "virtiofs", flags(mount), nil) == 0 { return }
    }
    throw GuestError("mount the host's directory at " + target, errno: guest_errno())
  }

  private static func flags(_ mount: GuestMount) -> UInt {
    UInt(mount.flags) | (mount.readOnly ? UInt(MS_RDONLY) : 0)
  }

  // MARK: - Filling

  /// On an empty file system, a mark that a copy to it is under way.
  private static let mark = "trusted.ignite.copying"

  /// Copies what the image has at the place to a volume that is empty, as docker does. One that was cut short is begun
  /// anew.
  private static func fill(_ target: String, from below: Int32) throws(GuestError) {
    if guest_has_attribute(target, mark) != 0 {
      guard guest_empty_directory(target) == 0 else {
        throw GuestError("empty " + target + ", which was copied to by halves", errno: guest_errno())
      }
    } else {
      guard guest_is_empty_directory(target) != 0 else { return }
      guard below >= 0, guest_set_attribute(target, mark) == 0 else { return }
    }
    guard below < 0 || copy(from: below, to: target) else {
      throw GuestError("the image's files at " + target + " could not all be copied to the volume")
    }
    guard guest_sync_directory(target) == 0, guest_remove_attribute(target, mark) == 0,
      guest_sync_directory(target) == 0
    else { throw GuestError("write what was copied to " + target, errno: guest_errno()) }
  }

  /// By two processes, from the directory that is hidden by the mount to the mount.
  private static func copy(from below: Int32, to target: String) -> Bool {
    var ends: [Int32] = [-1, -1]
    let null = guest_open("/dev/null", O_RDWR, 0)
    guard null >= 0, guest_pipe(&ends) == 0 else { return false }
    var left = 0
    var isGood = true
    let packer = guest_fork()
    if packer == 0 {
      _ = fchdir(below)
      Worker.run(own: [null, ends[1], 2]) { Worker.pack([46], followsLink: false, top: [46]) }
    }
    let unpacker = guest_fork()
    if unpacker == 0 {
      var request = CopyInRequest(path: Bytes(target.utf8))
      request.isArchive = true
      request.keepsOwners = true
      Worker.run(own: [ends[0], null, 2]) { Worker.copyIn(request, keepsTop: false) }
    }
    for descriptor in [null, ends[0], ends[1]] { close(descriptor) }
    for process in [packer, unpacker] { if process > 0 { left += 1 } else { isGood = false } }
    var code: Int32 = 0
    var signal: Int32 = 0
    // Nothing else has been started yet.
    while left > 0 {
      let process = guest_wait(&code, &signal)
      guard process > 0 else { return false }
      if process == packer || process == unpacker {
        left -= 1
        if code != 0 || signal != 0 { isGood = false }
      }
    }
    return isGood
  }
}
