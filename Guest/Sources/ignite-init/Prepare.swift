import CGuest
import IgniteWire

/// What can be done before the host has said which VM this is. A template is frozen after it: nothing here may read
/// random numbers or the boot's id, and no disk may be mounted.
func prepare() {
  umask(0)
  KernelFileSystems.mount()
  openConsole()
  Root.prepare()
  Modules.load()
}

/// Whether the kernel has given its timer up, so that nothing in the machine would ever wait for a time to come. Debian's
/// does under emulation, when the host was too busy while it measured the timer.
func lacksTimer() -> Bool {
  guard let device = File.read("/sys/devices/system/clockevents/clockevent0/current_device", limit: 64) else {
    return false
  }
  return device.allSatisfy { $0 <= 32 }
}

/// Descriptors 0 to 2, where the kernel found no console in the initrd.
private func openConsole() {
  if guest_is_open(2) != 0 { return }
  var descriptor: Int32 = -1
  repeat { descriptor = guest_open_console() } while descriptor >= 0 && descriptor < 2
}

/// What takes the time before the freeze rather than after it, on the host's word that the clones will be such.
func prepareForFreezing(_ configuration: Configuration) throws(GuestError) {
  Root.prepareModules(configuration.modulesDevice)
  try Network.prepare(configuration)
}
