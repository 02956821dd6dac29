internal import Glibc
internal import IgniteOCI
internal import IgniteSystem

/// What a clean-up deleted.
public struct CleanupReport: Sendable, Hashable {
  public var blobs = 0
  public var disks = 0
  /// Bytes given back to the host's file system.
  public var bytes: Int64 = 0

  public init() {}
}

extension ContentStore {
  /// Deletes the blobs and base disks that no image needs, and what imports that died left behind.
  ///
  /// Imports that run go on undisturbed, in this process and others: what they need is kept too.
  ///
  /// - Parameter images: all images there are, asked for while no import can begin or be forgotten.
  /// - Throws: `io`, and what `images` throws; nothing is deleted then.
  @discardableResult
  public func removeUnreferenced(
    keeping images: @Sendable () async throws -> [ImportedImage]
  ) async throws -> CleanupReport {
    let lock = try await ThreadExecutor.run { () throws(ImageError) in try StoreLock.take(self, exclusive: true) }
    defer { lock.release() }
    let kept = try await images()
    return try await ThreadExecutor.run { () throws(ImageError) in try sweep(keeping: kept) }
  }

  /// As above, with a list that its caller knows to be complete.
  @discardableResult
  public func removeUnreferenced(keeping images: [ImportedImage]) async throws -> CleanupReport {
    try await removeUnreferenced { images }
  }

  private func sweep(keeping images: [ImportedImage]) throws(ImageError) -> CleanupReport {
    var (blobs, disks) = try Lease.collect(self)
    for image in images {
      blobs.formUnion(image.blobs)
      disks.insert(image.disk)
    }
    var report = CleanupReport()
    for digest in try list() where !blobs.contains(digest) {
      let size = (try? self.size(of: digest)) ?? 0
      try remove(digest)
      report.blobs += 1
      report.bytes += size
    }
    for name in try directoryEntries(self.disks) {
      guard let file = DiskFile(name) else { continue }
      switch file.kind {
      case .disk where !disks.contains(name):
        report.bytes += try removeFile(name)
        report.disks += 1
      case .partial, .lock:
        // Whoever builds holds the lock; without a holder these are left over.
        guard let lock = try NamedLock.tryTake("\(self.disks)/\(file.base).lock") else { continue }
        if file.kind == .partial { report.bytes += try removeFile(name) }
        lock.release()
      case .disk: break
      }
    }
    return report
  }

  /// Deletes a file below `disks` and returns what it took.
  private func removeFile(_ name: String) throws(ImageError) -> Int64 {
    let path = "\(disks)/\(name)"
    var status = stat()
    guard lstat(path, &status) == 0 else { return 0 }
    if unlink(path) != 0, errno != ENOENT { throw .system("remove", path) }
    return Int64(status.st_blocks) * 512
  }
}

/// The names below `disks`: `<chain id hex>.<builder version>.ext4`, and beside it, while it is made, `.partial` and
/// `.lock`.
struct DiskFile {
  enum Kind { case disk, partial, lock }

  /// Chain ID and builder version: what names the disk.
  let base: String
  let kind: Kind

  init?(_ name: String) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[0].utf8.count == 64, parts[0].allSatisfy(\.isHexDigit) else { return nil }
    switch parts[2] {
    case "ext4": kind = .disk
    case "partial": kind = .partial
    case "lock": kind = .lock
    default: return nil
    }
    base = "\(parts[0]).\(parts[1])"
  }

  static func base(chainID: Digest, version: String) -> String { "\(chainID.hex).\(version)" }
}
