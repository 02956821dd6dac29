internal import Glibc
public import IgniteOCI
internal import IgniteSystem

/// What objects need of the store; all else in it may go.
public struct StoreNeeds: Sendable {
  public var blobs: Set<Digest> = []
  /// File names below `disks`.
  public var disks: Set<String> = []

  public init() {}

  /// An image needs its disk and its documents, and its layers unless it was imported to keep none.
  public mutating func add(_ image: ImportedImage, layers: Bool = true) {
    disks.insert(image.disk)
    blobs.formUnion(layers ? image.blobs : image.documents)
  }
}

/// What a clean-up is to do.
public struct CleanupRequest: Sendable {
  public var needs: StoreNeeds
  /// What nothing needs stays for so many seconds after it was written, so that an import that failed is resumed.
  public var grace: Int64 = 0
  /// What goes at once when nothing needs it, whatever its age.
  public var atOnce = StoreNeeds()
  /// Nothing is deleted: the report says what would be.
  public var dryRun = false

  public init(needs: StoreNeeds) { self.needs = needs }
}

/// What a clean-up deleted, or would delete.
public struct CleanupReport: Sendable, Hashable {
  /// A file below the data root.
  public struct Item: Sendable, Hashable {
    public enum Kind: Sendable, Hashable { case blob, disk, leftover }
    public var kind: Kind
    /// A blob's digest, else the path below the data root.
    public var name: String
    /// What it takes on the host's file system.
    public var bytes: Int64
  }

  /// In the order of their kinds and names.
  public var items: [Item] = []

  public init() {}

  public var blobs: Int { items.count { $0.kind == .blob } }
  public var disks: Int { items.count { $0.kind == .disk } }
  /// Bytes given back to the host's file system.
  public var bytes: Int64 { items.reduce(0) { $0 + $1.bytes } }
}

extension ContentStore {
  /// Deletes the blobs and base disks that no object needs, and what imports that died left behind.
  ///
  /// Imports that run go on undisturbed, in this process and others: what they need is kept too.
  ///
  /// - Parameter request: asked for while no import can begin or be forgotten, and no image can be taken into use.
  /// - Throws: `io`, and what `request` throws; nothing is deleted then.
  @discardableResult
  public func cleanUp(_ request: () async throws -> CleanupRequest) async throws -> CleanupReport {
    let lock = try await ThreadExecutor.run { () throws(ImageError) in try StoreLock.take(self, exclusive: true) }
    defer { lock.release() }
    let request = try await request()
    return try await ThreadExecutor.run { () throws(ImageError) in
      let report = try doomed(request)
      if !request.dryRun { for item in report.items { try delete(item) } }
      return report
    }
  }

  /// Deletes all that these images do not need, a list that its caller knows to be complete.
  @discardableResult
  public func removeUnreferenced(keeping images: [ImportedImage]) async throws -> CleanupReport {
    var needs = StoreNeeds()
    for image in images { needs.add(image) }
    let request = CleanupRequest(needs: needs)
    return try await cleanUp { request }
  }

  /// Runs `body` while no clean-up is between its looking and its deleting: what it writes down is seen by the next.
  public func undisturbed<Result>(_ body: () async throws -> Result) async throws -> Result {
    let lock = try await ThreadExecutor.run { () throws(ImageError) in try StoreLock.take(self, exclusive: false) }
    defer { lock.release() }
    return try await body()
  }

  /// Whether a base disk of that name is here.
  public func hasBaseDisk(_ name: String) -> Bool { hasDisk(name) }

  private func doomed(_ request: CleanupRequest) throws(ImageError) -> CleanupReport {
    let leased = try Lease.collect(self)
    let oldest = Int64(time(nil)) - request.grace
    var report = CleanupReport()
    func judge(_ kind: CleanupReport.Item.Kind, _ name: String, _ path: String, atOnce: Bool) {
      var status = stat()
      guard lstat("\(root)/\(path)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return }
      guard atOnce || request.grace <= 0 || Int64(status.st_mtim.tv_sec) < oldest else { return }
      report.items.append(CleanupReport.Item(kind: kind, name: name, bytes: Int64(status.st_blocks) * 512))
    }
    for digest in try list().sorted(by: { $0.hex < $1.hex }) {
      if request.needs.blobs.contains(digest) || leased.blobs.contains(digest) { continue }
      judge(
        .blob, digest.description, "content/blobs/sha256/\(digest.hex)", atOnce: request.atOnce.blobs.contains(digest))
    }
    let names = try directoryEntries(disks).sorted()
    for name in names where DiskFile(name)?.kind == .disk {
      if request.needs.disks.contains(name) || leased.disks.contains(name) { continue }
      judge(.disk, "disks/\(name)", "disks/\(name)", atOnce: request.atOnce.disks.contains(name))
    }
    for path in try abandoned() { judge(.leftover, path, path, atOnce: true) }
    return report
  }

  /// What a file below `disks` is, by its name; nil for what is none of ours.
  public static func kind(ofDisk name: String) -> CleanupReport.Item.Kind? {
    DiskFile(name).map { $0.kind == .disk ? .disk : .leftover }
  }

  /// What imports that died left behind, as paths below the data root. Blocking.
  public func abandoned() throws(ImageError) -> [String] {
    var paths: [String] = []
    for name in try directoryEntries(ingest).sorted() where !IngestFile.isHeld("\(ingest)/\(name)") {
      paths.append("content/ingest/\(name)")
    }
    for name in try directoryEntries(disks).sorted() {
      // Whoever builds holds the lock; without a holder these are left over.
      guard let file = DiskFile(name), file.kind != .disk, !IngestFile.isHeld("\(disks)/\(file.base).lock") else {
        continue
      }
      paths.append("disks/\(name)")
    }
    return paths
  }

  private func delete(_ item: CleanupReport.Item) throws(ImageError) {
    switch item.kind {
    case .blob:
      guard let digest = Digest(item.name) else { return }
      try remove(digest)
    case .disk: try removeFile("\(root)/\(item.name)")
    case .leftover:
      let path = "\(root)/\(item.name)"
      guard let name = item.name.split(separator: "/").last, let file = DiskFile(String(name)) else {
        IngestFile.removeIfStale(path)
        return
      }
      // Under the lock nobody begins to write the file that is removed; releasing it removes the lock's own.
      guard let lock = try NamedLock.tryTake("\(disks)/\(file.base).lock") else { return }
      defer { lock.release() }
      if file.kind == .partial { try removeFile(path) }
    }
  }

  private func removeFile(_ path: String) throws(ImageError) {
    if unlink(path) != 0, errno != ENOENT { throw .system("remove", path) }
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
