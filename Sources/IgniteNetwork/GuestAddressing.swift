/// The addresses of a guest behind a user-mode network: the same for every VM, set by the guest's init without DHCP.
///
/// They are those of QEMU's own user network, so that passt and its stand-in look alike from inside.
public enum GuestAddressing {
  public static let address = "10.0.2.15"
  public static let prefixLength = 24
  public static let gateway = "10.0.2.2"
  public static let nameServer = "10.0.2.3"
  /// Every VM is alone behind its network, so all may have one; locally administered, QEMU's prefix.
  public static let macAddress = "52:54:00:12:34:56"
}
