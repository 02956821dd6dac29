import CGuest
import IgniteWire

/// Makes the booted kernel the VM that the configuration describes: clock, entropy, names, root and network. The root
/// is the program's own root afterwards.
func configure(_ configuration: Configuration) throws(GuestError) {
  if configuration.wallClock > 0, guest_set_wall_clock(configuration.wallClock) != 0 {
    throw GuestError("set the clock", errno: guest_errno())
  }
  if !configuration.entropy.isEmpty {
    let result = configuration.entropy.withUnsafeBufferPointer { guest_add_entropy($0.baseAddress, $0.count) }
    // The bytes are in either way; a generator that is not ready yet reseeds itself.
    if result != 0 { Console.log("reseed the random numbers: " + errorText(guest_errno())) }
  }
  if !configuration.hostname.isEmpty {
    let name = Bytes(configuration.hostname.utf8.prefix(64))
    if withCString(name, { sethostname($0, name.count) }) != 0 {
      throw GuestError("set the host name", errno: guest_errno())
    }
  }
  try Root.assemble(configuration)
  try Root.enter()
  try KernelFileSystems.enter()
  RootFiles.write(configuration)
  Root.mountModules(configuration.modulesDevice)
  try Network.configure(configuration)
}
