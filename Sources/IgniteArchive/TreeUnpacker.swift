internal import CIgniteArchive

/// What an unpacker may do and keeps.
public struct UnpackPolicy: Sendable {
  public enum Owner: Sendable, Equatable {
    /// The archive's.
    case kept
    /// Whoever runs this.
    case own
    /// This user and group.
    case fixed(uid: UInt32, gid: UInt32)
  }

  public var owner: Owner
  /// Set-user-ID and set-group-ID bits stay.
  public var keepsSetID: Bool
  /// Device nodes are made; else they are reported and left out.
  public var makesDevices: Bool
  /// All extended attributes that an archive carries, or users' own only.
  public var keepsAllAttributes: Bool
  /// Hard links may lead only to files that were unpacked here.
  public var guardsLinks: Bool

  public init(owner: Owner, keepsSetID: Bool, makesDevices: Bool, keepsAllAttributes: Bool, guardsLinks: Bool) {
    self.owner = owner
    self.keepsSetID = keepsSetID
    self.makesDevices = makesDevices
    self.keepsAllAttributes = keepsAllAttributes
    self.guardsLinks = guardsLinks
  }
}

/// Makes files of an archive's entries below a directory, by docker's rules: directories are merged, other files replaced,
/// and neither takes the place of the other.
///
/// Nothing outside the root is touched, whatever the entries say and whoever changes the tree meanwhile: every path is
/// resolved by the kernel with the root as its boundary (openat2(2)), and its last name never followed.
public final class TreeUnpacker {
  /// Directories whose modes and times wait for the end.
  private static let directoryLimit = 1 << 20

  private let root: OpenFile
  private let resolve: UInt64
  private let policy: UnpackPolicy
  private let report: (String) -> Void
  /// Files made here, for `guardsLinks`.
  private var made: Set<FileIdentity> = []
  private var directories: [Directory] = []
  /// The last entry's parent, open.
  private var parentPath: [UInt8]?
  private var parent: OpenFile?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 4096)

  private struct Directory {
    var path: [UInt8]
    var identity: FileIdentity
    var entry: ArchiveEntry
  }

  /// - Parameters:
  ///   - root: the directory that paths start from.
  ///   - isFileSystemRoot: absolute links lead to the root, as in the guest; else they, and those that lead up out of it,
  ///     are refused.
  ///   - report: takes a line about an entry that was left out.
  public init(
    root path: [UInt8], isFileSystemRoot: Bool, policy: UnpackPolicy, report: @escaping (String) -> Void
  ) throws(ArchiveError) {
    let reference = try OpenFile.take(
      path.withCString { archive_open_path(archive_current_directory, $0, 1, archive_resolve_freely) }, path)
    root = try OpenFile.take(archive_reopen(reference.number, 1), path)
    resolve = isFileSystemRoot ? archive_resolve_in_root : archive_resolve_beneath
    self.policy = policy
    self.report = report
  }

  deinit { buffer.deallocate() }

  /// Makes the file of an entry at a path relative to the root; an empty one is the root itself.
  ///
  /// - Parameters:
  ///   - linkTarget: of a hard link, relative to the root as well.
  ///   - keepsExisting: a directory that is there stays as it is, its mode and owner too.
  ///   - read: fills a buffer with the next stored bytes of the content; 0 at their end.
  public func unpack(
    _ entry: ArchiveEntry, at names: [[UInt8]], linkTarget: [[UInt8]] = [], keepsExisting: Bool = false,
    read: (UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int
  ) throws(ArchiveError) {
    let path = ArchivePath.joined(names)
    guard path.count < ArchiveLimits.pathBytes else { throw ArchiveError(printable(path) + ": the path is too long") }
    guard let name = names.last else {
      guard entry.kind == .directory else {
        throw ArchiveError("cannot overwrite a directory with " + printable(entry.path))
      }
      return
    }
    let directory = try openParent(ArchivePath.joined([[UInt8]](names.dropLast())))
    let existing = try FileStatus.at(directory.number, name, path)
    if let existing {
      let isDirectory = existing.kind == .directory
      if isDirectory, entry.kind != .directory {
        throw ArchiveError("cannot overwrite directory \"" + printable(path) + "\" with non-directory")
      }
      if !isDirectory, entry.kind == .directory {
        throw ArchiveError("cannot overwrite non-directory \"" + printable(path) + "\" with directory")
      }
      if !isDirectory { try check(name.withCString { archive_remove(directory.number, $0) }, path) }
    }
    switch entry.kind {
    case .directory:
      if existing != nil, keepsExisting { return }
      try makeDirectory(entry, directory, name, path, exists: existing != nil)
    case .file: try makeFile(entry, directory, name, path, read)
    case .hardLink: try makeLink(linkTarget, directory, name, path)
    case .symbolicLink:
      guard !entry.linkTarget.isEmpty else { throw ArchiveError(printable(path) + ": a symbolic link to nothing") }
      try check(
        entry.linkTarget.withCString { target in
          name.withCString { archive_make_symbolic_link(target, directory.number, $0) }
        }, path)
      if policy.owner != .own { try setOwner(entry, try reference(directory, name, path), path) }
      try setTime(entry, directory, name, path)
    case .fifo, .characterDevice, .blockDevice: try makeNode(entry, directory, name, path)
    }
  }

  /// Gives directories their modes, owners and times, which making files in them would have changed or forbidden.
  public func finish() throws(ArchiveError) {
    parent = nil
    parentPath = nil
    while let directory = directories.popLast() {
      let path = directory.path
      let open = try OpenFile.take(
        path.withCString { archive_open_path(root.number, $0, 0, resolve) }, path)
      // Somebody has put another in its place: that is not ours to change.
      guard try FileStatus.of(open.number, path).identity == directory.identity else { continue }
      let names = path.split(separator: 47).map { [UInt8]($0) }
      guard let name = names.last else { continue }
      let above = try openParent(ArchivePath.joined([[UInt8]](names.dropLast())))
      try setOwner(directory.entry, open, path)
      try setMode(directory.entry, open, path)
      try setTime(directory.entry, above, name, path)
    }
  }

  // MARK: Directories

  private func openParent(_ path: [UInt8]) throws(ArchiveError) -> OpenFile {
    if path.isEmpty { return root }
    if let parent, parentPath == path { return parent }
    let result = path.withCString { archive_open_path(root.number, $0, 1, resolve) }
    if result == archive_leads_out {
      throw ArchiveError(printable(path) + ": a symbolic link on it leads out of the destination")
    }
    let directory: OpenFile
    if let opened = try OpenFile.takeIfThere(result, path) {
      directory = opened
    } else {
      // An archive need not list the directories of its files.
      let names = path.split(separator: 47).map { [UInt8]($0) }
      let above = try openParent(ArchivePath.joined([[UInt8]](names.dropLast())))
      guard let name = names.last else { return root }
      try check(name.withCString { archive_make_directory(above.number, $0) }, path)
      directory = try reference(above, name, path)
      try check(archive_set_mode(directory.number, 0o755), path)
      if case .fixed(let uid, let gid) = policy.owner {
        try check(archive_set_owner(directory.number, uid, gid), path)
      }
    }
    guard try FileStatus.of(directory.number, path).kind == .directory else {
      throw ArchiveError(path, Int(archive_not_a_directory))
    }
    parent = directory
    parentPath = path
    return directory
  }

  private func makeDirectory(
    _ entry: ArchiveEntry, _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8], exists: Bool
  ) throws(ArchiveError) {
    if !exists { try check(name.withCString { archive_make_directory(directory.number, $0) }, path) }
    let opened = try OpenFile.take(
      name.withCString { archive_open_directory(directory.number, $0, archive_resolve_beneath) }, path)
    setAttributes(entry, opened, path)
    guard directories.count < Self.directoryLimit else {
      throw ArchiveError("the archive has more than \(Self.directoryLimit) directories")
    }
    var kept = entry
    kept.attributes = []
    directories.append(
      Directory(path: path, identity: try FileStatus.of(opened.number, path).identity, entry: kept))
  }

  // MARK: Files

  private func makeFile(
    _ entry: ArchiveEntry, _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8],
    _ read: (UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int
  ) throws(ArchiveError) {
    let file = try OpenFile.take(name.withCString { archive_create_file(directory.number, $0) }, path)
    for segment in entry.segments ?? [ArchiveSegment(offset: 0, length: entry.size)] {
      var done: UInt64 = 0
      while done < segment.length {
        let wanted = Int(min(segment.length - done, UInt64(buffer.count)))
        let count = try read(UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
        guard count > 0 else { throw ArchiveError(printable(path) + ": its content ended early") }
        let result = archive_write_at(file.number, buffer.baseAddress, count, segment.offset + done)
        if result < 0 { throw ArchiveError(path, result) }
        done += UInt64(count)
      }
    }
    if entry.segments != nil { try check(archive_truncate(file.number, entry.size), path) }
    try setOwner(entry, file, path)
    setAttributes(entry, file, path)
    try setMode(entry, file, path)
    try setTime(entry, directory, name, path)
    if policy.guardsLinks { made.insert(try FileStatus.of(file.number, path).identity) }
  }

  private func makeLink(
    _ target: [[UInt8]], _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) {
    let targetPath = ArchivePath.joined(target)
    guard !target.isEmpty else { throw ArchiveError(printable(path) + ": a hard link to nothing") }
    let reference = try OpenFile.take(
      targetPath.withCString { archive_open_path(root.number, $0, 0, resolve) }, targetPath)
    let status = try FileStatus.of(reference.number, targetPath)
    guard !policy.guardsLinks || made.contains(status.identity) else {
      throw ArchiveError(
        printable(path) + ": a hard link to a file that is not one of the copied, " + printable(targetPath))
    }
    try check(name.withCString { archive_make_link(reference.number, directory.number, $0) }, path)
  }

  private func makeNode(
    _ entry: ArchiveEntry, _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) {
    guard entry.kind == .fifo || policy.makesDevices else {
      return report(printable(path) + ": a device was left out; devices are made for root with -a only")
    }
    let type: UInt32 = entry.kind == .fifo ? 0o010000 : entry.kind == .blockDevice ? 0o060000 : 0o020000
    let result = name.withCString { archive_make_node(directory.number, $0, type | 0o600, entry.major, entry.minor) }
    try check(result, path)
    let reference = try reference(directory, name, path)
    try setOwner(entry, reference, path)
    try setMode(entry, reference, path)
    try setTime(entry, directory, name, path)
  }

  // MARK: What files have beside their content

  /// By descriptor: whoever may change the tree could put another file in a name's place.
  private func setOwner(_ entry: ArchiveEntry, _ file: OpenFile, _ path: [UInt8]) throws(ArchiveError) {
    let owner: (uid: UInt32, gid: UInt32)
    switch policy.owner {
    case .own: return
    case .kept: owner = (entry.uid, entry.gid)
    case .fixed(let uid, let gid): owner = (uid, gid)
    }
    try check(archive_set_owner(file.number, owner.uid, owner.gid), path)
  }

  private func reference(
    _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) -> OpenFile {
    try OpenFile.take(name.withCString { archive_open_path(directory.number, $0, 0, resolve) }, path)
  }

  /// After the owner, whose change takes set-ID bits away.
  private func setMode(_ entry: ArchiveEntry, _ file: OpenFile, _ path: [UInt8]) throws(ArchiveError) {
    let mask: UInt32 = policy.keepsSetID ? 0o7777 : entry.kind == .directory ? 0o1777 : 0o777
    try check(archive_set_mode(file.number, entry.mode & mask), path)
  }

  private func setTime(
    _ entry: ArchiveEntry, _ directory: OpenFile, _ name: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) {
    let result = name.withCString { archive_set_time(directory.number, $0, entry.seconds, entry.nanoseconds) }
    try check(result, path)
  }

  /// A file system without them is no reason to fail.
  private func setAttributes(_ entry: ArchiveEntry, _ file: OpenFile, _ path: [UInt8]) {
    for attribute in entry.attributes where policy.keepsAllAttributes || FileAttribute.isUsers(attribute.name) {
      let result = FileAttribute.write(attribute, file.number)
      if result < 0, result != archive_unsupported {
        report(printable(path) + ": the attribute " + printable(attribute.name) + ": " + errorText(result))
      }
    }
  }

  private func check(_ result: Int32, _ path: [UInt8]) throws(ArchiveError) {
    if result < 0 { throw ArchiveError(path, Int(result)) }
  }
}
