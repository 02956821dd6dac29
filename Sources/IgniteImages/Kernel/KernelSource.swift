internal import Glibc
public import IgniteOCI

/// Where a kernel comes from.
public enum KernelSource: Sendable, Hashable, CustomStringConvertible {
  /// A Debian kernel package file.
  case package(path: String)
  /// A package that apt downloads without installing it; a metapackage is followed to its kernel.
  case apt(package: String)
  /// An OCI image with a kernel below `/boot` and its modules below `/lib/modules`.
  case image(ImageSourceReference)
  /// A vmlinux or bzImage file, and where its modules are: a folder `/lib/modules/VERSION`, or the one above.
  case file(path: String, modules: String?)

  /// Reads `apt:PACKAGE`, a file's path, or the source of an image.
  ///
  /// - Parameter modules: the folder of a kernel file's modules.
  /// - Throws: `invalidReference` for a text that is nothing of these.
  public init(_ text: String, modules: String? = nil) throws(ImageError) {
    let usage = "name a package (apt:linux-image-cloud-amd64, FILE.deb), a vmlinux or bzImage file, or an image"
    guard !text.isEmpty else { throw ImageError(.invalidReference, "the kernel's source is empty", advice: usage) }
    if text.hasPrefix("apt:") {
      let name = String(text.dropFirst(4))
      guard Self.isPackageName(name) else {
        throw ImageError(.invalidReference, "'\(displayName(name.utf8))' is no Debian package name", advice: usage)
      }
      self = .apt(package: name)
    } else if text.hasSuffix(".deb") {
      self = .package(path: text)
    } else if text != "-", Self.isPath(text) {
      self = .file(path: text, modules: modules)
      return
    } else if text == "-" || text.contains(where: { "/:@".contains($0) }) {
      do throws(OCIError) {
        self = .image(try ImageSourceReference(text))
      } catch {
        throw ImageError(error)
      }
    } else {
      throw ImageError(
        .invalidReference, "'\(displayName(text.utf8))' is neither a file nor apt:PACKAGE nor an image's full name",
        advice: usage)
    }
    guard modules == nil else {
      throw ImageError(
        .invalidReference, "--modules goes with a kernel file, and \(displayName(text.utf8)) brings its own modules",
        advice: "leave --modules out")
    }
  }

  public var description: String {
    switch self {
    case .package(let path): path
    case .apt(let package): "apt:\(package)"
    case .image(let reference): reference.description
    case .file(let path, _): path
    }
  }

  /// Whether a text is meant as a path: it begins as one, or there is such a file.
  private static func isPath(_ text: String) -> Bool {
    ["/", "./", "../"].contains { text.hasPrefix($0) } || access(text, F_OK) == 0
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
  /// apt, or the image's source, is asked for it.
  case resolving(package: String)
  /// A package's or an image's bytes are fetched.
  case downloading(package: String, bytes: UInt64)
  /// The package is unpacked; both numbers in bytes, the total an estimate.
  case unpacking(package: String, bytes: UInt64, total: UInt64)
  /// The kernel was in the store already.
  case reused(package: String)
}
