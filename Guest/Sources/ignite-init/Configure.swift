import CGuest
import IgniteWire

/// Makes the booted kernel the VM that the configuration describes: clock, entropy, names, root and network. The root
/// is the program's own root afterwards.
func configure(_ configuration: Configuration) throws(GuestError) {
  try setClockAndEntropy(configuration)
  try setHostname(configuration)
  try Root.assemble(configuration)
  try Root.enter()
  try KernelFileSystems.enter()
  RootFiles.write(configuration)
  Root.mountModules(configuration.modulesDevice)
  try Network.configure(configuration)
}

/// Makes a spare, which has been configured and has waited since, the VM that it is taken for: time and entropy are
/// fresh, its names may be others. The disks, the Ethernet address and the network are what they were.
func configureAgain(_ configuration: Configuration, before: Configuration) throws(GuestError) {
  guard configuration.baseDevice == before.baseDevice, configuration.writableDevice == before.writableDevice,
    configuration.modulesDevice == before.modulesDevice, configuration.macAddress == before.macAddress,
    configuration.address == before.address, configuration.gateway == before.gateway
  else { throw GuestError("the guest has been configured, with other disks or another network") }
  try setClockAndEntropy(configuration)
  let isRenamed =
    configuration.hostname != before.hostname || configuration.machineID != before.machineID
    || configuration.nameServers != before.nameServers || configuration.searchDomains != before.searchDomains
    || configuration.hosts != before.hosts
  if isRenamed {
    try setHostname(configuration)
    RootFiles.write(configuration)
  }
  // Told to a network that may have been made since.
  try Network.configure(configuration)
}

private func setClockAndEntropy(_ configuration: Configuration) throws(GuestError) {
  if configuration.wallClock > 0, guest_set_wall_clock(configuration.wallClock) != 0 {
    throw GuestError("set the clock", errno: guest_errno())
  }
  if !configuration.entropy.isEmpty {
    let result = configuration.entropy.withUnsafeBufferPointer { guest_add_entropy($0.baseAddress, $0.count) }
    // The bytes are in either way; a generator that is not ready yet reseeds itself.
    if result != 0 { Console.log("reseed the random numbers: " + errorText(guest_errno())) }
  }
}

private func setHostname(_ configuration: Configuration) throws(GuestError) {
  if !configuration.hostname.isEmpty {
    let name = Bytes(configuration.hostname.utf8.prefix(64))
    if withCString(name, { sethostname($0, name.count) }) != 0 {
      throw GuestError("set the host name", errno: guest_errno())
    }
  }
}
