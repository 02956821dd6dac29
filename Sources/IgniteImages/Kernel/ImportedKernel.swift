public import FoundationEssentials
public import IgniteOCI

/// A kernel in the store: what `kernel.json` beside it says.
public struct ImportedKernel: Sendable, Hashable, Codable {
  /// The content's identity: the sha256 of the package file that it was made from, the digest of the image's manifest,
  /// or the sha256 of kernel file and modules.
  public var digest: Digest
  /// The reference that people call it by, `debian/linux-image-6.1.0-56-cloud-amd64:6.1.192-2` unless told otherwise.
  public var name: String
  /// The kernel's release, as `uname -r` prints it in the guest and `/lib/modules` has it.
  public var version: String
  /// What it was made from: the Debian package's name, version and architecture; an image's or a file's name stands in
  /// the package's place, an image's digest or the kernel's release in its version's.
  public var package: String
  public var packageVersion: String
  public var architecture: String
  /// The source as it was given to the import: `apt:PACKAGE`, a path, an image.
  public var source: String
  /// When it was imported.
  public var created: Date
  /// The size of `vmlinux` in bytes.
  public var vmlinuxSize: UInt64
  /// The bytes that `modules.ext4` takes on the host; 0 where the kernel has no modules.
  public var modulesSize: UInt64
  /// The number of modules on the modules disk.
  public var moduleCount: Int
  /// The files of the modules in the initrd, in the order of insertion.
  public var initrdModules: [String]
  /// The sha256 of `modules.cpio`, the initrd's part that does not depend on `ignite-init`.
  public var initrdModulesDigest: Digest
  public var facts: KernelFacts
  /// The version of this program's way to build a kernel's files; older ones are built anew by an import.
  public var format: Int

  /// What `format` must be for the files to be of use.
  static let currentFormat = 1
}
