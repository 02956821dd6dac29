/// The sizes that base disks have as devices.
///
/// A frozen machine has its devices' sizes in it, and thaws with disks of the same sizes only. So that one template
/// serves all images, their disks have a few sizes: the file system stands at the front, and a hole follows.
public enum DiskSize {
  /// The least size, in bytes: 16 GiB.
  public static let least: UInt64 = 16 << 30

  /// The least of 16 GiB, 256 GiB, 4 TiB, … that holds `bytes`; `bytes` itself where none does.
  public static func rounded(_ bytes: UInt64) -> UInt64 {
    var size = least
    while size < bytes {
      let next = size.multipliedReportingOverflow(by: 16)
      if next.overflow { return bytes }
      size = next.partialValue
    }
    return size
  }
}
