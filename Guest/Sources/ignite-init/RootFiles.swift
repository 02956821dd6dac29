import CGuest
import IgniteWire

/// The few files of the image that tell which VM this is, and the kernel's settings that docker has for a container.
/// Called within the new root: symbolic links of the image lead nowhere else.
enum RootFiles {
  static func write(_ configuration: Configuration) {
    _ = guest_mkdir("/etc", 0o755)
    if !configuration.hostname.isEmpty { replace("/etc/hostname", configuration.hostname + "\n") }
    replace("/etc/hosts", hosts(configuration))
    // Without name servers there is nothing better to say than what the image has.
    if !configuration.nameServers.isEmpty { replace("/etc/resolv.conf", resolver(configuration)) }
    writeMachineID(configuration.machineID)
    // As docker: a user of the image may open any port, and ping.
    File.write("/proc/sys/net/ipv4/ip_unprivileged_port_start", Bytes("0".utf8), flags: 0)
    File.write("/proc/sys/net/ipv4/ping_group_range", Bytes("0 2147483647".utf8), flags: 0)
  }

  /// A symbolic link is replaced by a file: its target, as /run/systemd/resolve, may not be there.
  private static func replace(_ path: String, _ text: String) {
    let bytes = Bytes(text.utf8)
    if File.write(path, bytes, flags: O_CREAT | O_TRUNC | O_NOFOLLOW) { return }
    unlink(path)
    if !File.write(path, bytes, flags: O_CREAT | O_TRUNC | O_NOFOLLOW) {
      Console.log("write " + path + ": " + errorText(guest_errno()))
    }
  }

  private static func hosts(_ configuration: Configuration) -> String {
    var lines = """
      127.0.0.1\tlocalhost
      ::1\tlocalhost ip6-localhost ip6-loopback
      fe00::0\tip6-localnet
      ff00::0\tip6-mcastprefix
      ff02::1\tip6-allnodes
      ff02::2\tip6-allrouters

      """
    if !configuration.hostname.isEmpty {
      // Without an address of its own the VM is still found by its name, as Debian has it.
      let address = configuration.address.utf8.prefix { $0 != 47 }
      lines += (address.isEmpty ? "127.0.1.1" : text(Bytes(address))) + "\t" + configuration.hostname + "\n"
    }
    for line in configuration.hosts { lines += line + "\n" }
    return lines
  }

  private static func resolver(_ configuration: Configuration) -> String {
    var lines = ""
    if !configuration.searchDomains.isEmpty {
      lines += "search"
      for domain in configuration.searchDomains { lines += " " + domain }
      lines += "\n"
    }
    for server in configuration.nameServers { lines += "nameserver " + server + "\n" }
    return lines
  }

  /// Only where the image has the file of systemd(1) and leaves it to the first boot: empty or `uninitialized`. An image
  /// without it does not want it, and one with an id of its own keeps that.
  private static func writeMachineID(_ id: String) {
    guard !id.isEmpty, let current = File.read("/etc/machine-id", limit: 64) else { return }
    let word = current.prefix { $0 > 32 }
    guard word.isEmpty || word.elementsEqual("uninitialized".utf8) else { return }
    replace("/etc/machine-id", id + "\n")
  }
}
