/// Where a kernel comes from.
public enum KernelSource: Sendable, Hashable, CustomStringConvertible {
  /// A Debian kernel package file.
  case package(path: String)
  /// A package that apt downloads without installing it; a metapackage is followed to its kernel.
  case apt(package: String)

  /// Reads `apt:PACKAGE` or a path.
  ///
  /// - Throws: `invalidReference` for a text that is neither.
  public init(_ text: String) throws(ImageError) {
    let usage = "name a Debian kernel package file, or apt:PACKAGE, e.g. apt:linux-image-cloud-amd64"
    guard !text.isEmpty else { throw ImageError(.invalidReference, "the kernel's source is empty", advice: usage) }
    if text.hasPrefix("apt:") {
      let name = String(text.dropFirst(4))
      guard Self.isPackageName(name) else {
        throw ImageError(.invalidReference, "'\(displayName(name.utf8))' is no Debian package name", advice: usage)
      }
      self = .apt(package: name)
    } else if text.hasSuffix(".deb") || text.contains("/") {
      self = .package(path: text)
    } else {
      throw ImageError(
        .invalidReference, "'\(displayName(text.utf8))' is neither a .deb file nor apt:PACKAGE", advice: usage)
    }
  }

  public var description: String {
    switch self {
    case .package(let path): path
    case .apt(let package): "apt:\(package)"
    }
  }

  /// Debian Policy 5.6.1: at least two of these characters, the first a letter or digit.
  static func isPackageName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    func isAlphanumeric(_ byte: UInt8) -> Bool {
      (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
        || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
    }
    guard bytes.count >= 2, bytes.count <= 200, isAlphanumeric(bytes[0]) else { return false }
    return bytes.allSatisfy { isAlphanumeric($0) || "+-.".utf8.contains($0) }
  }
}

/// How far an import is.
public enum KernelImportProgress: Sendable, Hashable {
  /// apt is asked which package holds the kernel.
  case resolving(package: String)
  /// apt downloads a package of that many bytes.
  case downloading(package: String, bytes: UInt64)
  /// The package is unpacked; both numbers in bytes, the total an estimate.
  case unpacking(package: String, bytes: UInt64, total: UInt64)
  /// The kernel was in the store already.
  case reused(package: String)
}
