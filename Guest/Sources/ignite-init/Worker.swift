import CGuest
import IgniteArchive
import IgniteWire

/// Work on files in a child of the agent, so that the agent never waits for a disk.
enum Worker {
  /// Some files were left out; or there is no archive, or a part of one.
  private static let incomplete: Int32 = 1
  private static let failed: Int32 = 2

  /// In the child: does the work on the process's own streams, and ends.
  /// - Parameter own: its input, output and errors.
  static func run(own: [Int32], _ body: () -> Int32) -> Never {
    umask(0)
    if guest_be_worker(own[0], own[1], own[2], "ignite-worker") != 0 { guest_exit(failed) }
    guest_exit(body())
  }

  static func copyOut(_ request: CopyOutRequest) -> Int32 {
    // A path is the root's, whether it says so or not; a link at its end is followed where a directory is asked for.
    let path = rooted(request.path)
    return pack(
      path, followsLink: request.followsLink || ArchivePath.assertsDirectory(path), top: ArchivePath.top(of: path))
  }

  static func pack(_ path: Bytes, followsLink: Bool, top: Bytes) -> Int32 {
    var failures = 0
    do throws(ArchiveError) {
      let writer = ArchiveWriter(descriptor: 1)
      let packer = TreePacker(writer, skipsKernelFileSystems: true) { line in
        failures += 1
        say(line)
      }
      try packer.pack(path: path, followsLink: followsLink, top: top)
      try writer.finish()
    } catch {
      say(error.text)
      return failed
    }
    return failures > 0 ? incomplete : 0
  }

  /// - Parameter keepsTop: the directory that the archive's own goes to stays as it is.
  static func copyIn(_ request: CopyInRequest, keepsTop: Bool = true) -> Int32 {
    var failures = 0
    let reader = ArchiveReader(descriptor: 0)
    do throws(ArchiveError) {
      let place = try CopyDestination(path: rooted(request.path))
      if request.isArchive, place.state != .directory {
        throw ArchiveError("destination \"" + printable(request.path) + "\" must be a directory")
      }
      let target = try place.target(name: request.name, isDirectory: request.isDirectory)
      let policy = UnpackPolicy(
        owner: request.keepsOwners ? .kept : .fixed(uid: 0, gid: 0), keepsSetID: true, makesDevices: true,
        keepsAllAttributes: true, guardsLinks: false)
      let unpacker = try TreeUnpacker(root: [47], isFileSystemRoot: true, policy: policy) { line in
        failures += 1
        say(line)
      }
      try requireDirectory(target.directory)
      var base = names(target.directory)
      if !target.name.isEmpty { base.append(target.name) }
      while let entry = try reader.next() {
        guard let names = ArchivePath.components(entry.path) else {
          throw ArchiveError("the archive has a path that leads out of it: " + printable(entry.path))
        }
        var link: [[UInt8]] = []
        if entry.kind == .hardLink {
          guard let names = ArchivePath.components(entry.linkTarget) else {
            throw ArchiveError("the archive has a hard link that leads out of it: " + printable(entry.path))
          }
          link = base + names
        }
        // The contents of a directory leave the one that they go to as it is.
        try unpacker.unpack(
          entry, at: base + names, linkTarget: link,
          keepsExisting: request.keepsDirectories || (keepsTop && names.isEmpty && target.name.isEmpty)
        ) { buffer throws(ArchiveError) in try reader.read(into: buffer) }
      }
      try unpacker.finish()
    } catch {
      say(error.text)
      return failed
    }
    reader.drain()
    return failures > 0 ? incomplete : 0
  }

  private static func rooted(_ path: Bytes) -> Bytes { path.first == 47 ? path : [47] + path }

  private static func names(_ path: Bytes) -> [Bytes] { path.split(separator: 47).map { Bytes($0) } }

  /// The directory that a new file goes to has to be there.
  private static func requireDirectory(_ path: Bytes) throws(ArchiveError) {
    let kind = guest_mode(text(path), 1) & UInt32(S_IFMT)
    if kind == UInt32(S_IFDIR) { return }
    throw ArchiveError(
      printable(path) + (kind == 0 ? ": there is no such directory" : ": it is not a directory"))
  }

  private static func say(_ line: String) {
    let bytes = Bytes((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
  }
}
