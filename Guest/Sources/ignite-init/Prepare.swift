import CGuest

/// What can be done before the host has said which VM this is. A template is frozen after it: nothing here may read
/// random numbers or the boot's id, and no disk may be mounted.
func prepare() {
  umask(0)
  mountEarly("devtmpfs", "/dev")
  mountEarly("proc", "/proc")
  mountEarly("sysfs", "/sys")
  openConsole()
  Modules.load()
}

private func mountEarly(_ type: String, _ target: String) {
  _ = guest_mkdir(target, 0o755)
  if guest_mount(type, target, type, 0, nil) != 0 { Console.log("mount " + target + ": " + errorText(guest_errno())) }
}

/// Descriptors 0 to 2, where the kernel found no console in the initrd.
private func openConsole() {
  if guest_is_open(2) != 0 { return }
  var descriptor: Int32 = -1
  repeat { descriptor = guest_open_console() } while descriptor >= 0 && descriptor < 2
}
