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
  Root.mountModules(configuration.modulesDevice)
  try Volumes.mount(configuration.mounts)
  // Also where /etc is a volume.
  RootFiles.write(configuration)
  try Network.configure(configuration)
}

/// Makes a spare, which has been configured and has waited since, the VM that it is taken for: time and entropy are
/// fresh, its names may be others. The disks, the Ethernet address and the network are what they were.
func configureAgain(_ configuration: Configuration, before: Configuration) throws(GuestError) {
  guard lasting(configuration) == lasting(before) else {
    throw GuestError("the guest has been configured, with other disks or another network")
  }
  try setClockAndEntropy(configuration)
  let isRenamed = names(configuration) != names(before)
  if isRenamed {
    try setHostname(configuration)
    RootFiles.write(configuration)
  }
  // Told to a network that may have been made since.
  try Network.configure(configuration)
}

/// Parts of a configuration as bytes: text is not compared as such, which would bring all of Unicode's tables along.
private func lasting(_ configuration: Configuration) -> Bytes {
  var part = Configuration()
  part.baseDevice = configuration.baseDevice
  part.writableDevice = configuration.writableDevice
  part.modulesDevice = configuration.modulesDevice
  part.macAddress = configuration.macAddress
  part.address = configuration.address
  part.gateway = configuration.gateway
  part.mounts = configuration.mounts
  return part.encoded()
}

private func names(_ configuration: Configuration) -> Bytes {
  var part = Configuration()
  part.hostname = configuration.hostname
  part.machineID = configuration.machineID
  part.nameServers = configuration.nameServers
  part.searchDomains = configuration.searchDomains
  part.hosts = configuration.hosts
  return part.encoded()
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
