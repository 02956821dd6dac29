internal import FoundationEssentials
internal import Glibc
internal import IgniteSystem

/// What is free on the host's file system below a path.
public struct HostSpace: Sendable, Hashable {
  /// Where the file system is mounted.
  public var mountPoint: String
  /// Bytes that this user may still write.
  public var free: Int64

  init(mountPoint: String, free: Int64) {
    self.mountPoint = mountPoint
    self.free = free
  }

  /// Looks; blocking. nil where the path, and all that lead to it, cannot be asked.
  public init?(below path: String) {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { Glibc.free(resolved) }
    var values = statvfs()
    var status = stat()
    guard statvfs(resolved, &values) == 0, stat(resolved, &status) == 0 else { return nil }
    let blocks = Int64(clamping: values.f_bavail)
    let (bytes, overflow) = blocks.multipliedReportingOverflow(by: Int64(clamping: values.f_frsize))
    free = overflow ? .max : bytes
    // Upwards for as long as it is the same file system.
    var point = String(cString: resolved)
    while point != "/" {
      let parent = point.lastIndex(of: "/").map { String(point[..<$0]) } ?? ""
      var above = stat()
      guard stat(parent.isEmpty ? "/" : parent, &above) == 0, above.st_dev == status.st_dev else { break }
      point = parent.isEmpty ? "/" : parent
    }
    mountPoint = point
  }

  /// As a message tells it: `the file system /var has 1.2 MB free`.
  public var text: String { "the file system \(mountPoint) has \(byteCount(free)) free" }

  /// - Throws: `noSpace` where `bytes` do not fit.
  /// - Parameter subject: what is to be written: `the layers of app:1`.
  func require(_ bytes: Int64, for subject: String) throws(ImageError) {
    guard bytes > free else { return }
    throw ImageError(
      .noSpace, "\(subject) need \(byteCount(bytes)) at least, and \(text)",
      advice: "free some space there, or choose another --data-dir")
  }
}

extension ImageError {
  /// An error for want of space, told with the file system that is full and the bytes that were free when the work
  /// began; any other error as it is.
  ///
  /// - Parameter needed: what is known to be needed, in bytes; the work may need more.
  public func explained(_ subject: String, before: HostSpace?, needed: Int64) -> ImageError {
    guard code == .noSpace, let before else { return self }
    var error = self
    // It was not enough, so more than that is needed.
    let least = max(needed, before.free)
    error.message =
      "\(subject): the file system \(before.mountPoint) is full: \(byteCount(before.free)) were free, and more than "
      + "\(byteCount(least)) are needed (\(message))"
    error.advice = "free some space there, or choose another --data-dir"
    return error
  }
}

extension ImageError {
  /// The error as one of this module where it tells that the disk or a quota is full; nil for all others.
  public static func wantOfSpace(_ error: any Error) -> ImageError? {
    if let error = error as? ImageError { return error.code == .noSpace ? error : nil }
    if let error = error as? SystemError, error.code == ENOSPC || error.code == EDQUOT {
      return ImageError(.noSpace, error.message, cause: error)
    }
    if let error = error as? CocoaError, error.code == .fileWriteOutOfSpace {
      return ImageError(.noSpace, SystemError.text(of: ENOSPC), cause: error)
    }
    return nil
  }
}
