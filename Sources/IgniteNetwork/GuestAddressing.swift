/// The addresses of a guest behind a user-mode network: the same for every VM, set by the guest's init without DHCP.
///
/// They are those of QEMU's own user network, so that passt and its stand-in look alike from inside.
public enum GuestAddressing {
  public static let address = "10.0.2.15"
  public static let prefixLength = 24
  public static let gateway = "10.0.2.2"
  public static let nameServer = "10.0.2.3"

  /// A VM's Ethernet address, its own for as long as it exists: locally administered, then 40 bits of its UID.
  public static func macAddress(uid: String) -> String {
    var address = "52"
    for (index, digit) in uid.prefix(10).enumerated() { address += index.isMultiple(of: 2) ? ":\(digit)" : "\(digit)" }
    return address
  }
}
