internal import CIgniteArchive

/// Packs a file or a tree of files into an archive.
///
/// What cannot be read is reported and left out, and packing goes on; sockets are left out, as tar and docker do.
public final class TreePacker {
  /// How much of a file without a size of its own (in /proc) is read.
  private static let contentLimit = 32 << 20
  /// Files up to this size are read before their header is written: in /sys and /proc their sizes say nothing.
  private static let smallFile: UInt64 = 65_536

  private let writer: ArchiveWriter
  private let report: (String) -> Void
  /// The first path in the archive of each file that has several names.
  private var linked: [FileIdentity: [UInt8]] = [:]
  /// Directories below the top that are still to be packed, each with the file system of the one that it is in. A
  /// directory's contents follow it at once, for tar programs set its time when they leave it.
  private var pending: [(relative: [UInt8], device: UInt64)] = []
  /// File systems of the kernel's are packed as empty directories when they are met on the way.
  private let skipsKernelFileSystems: Bool
  private var kernelDevice: UInt64?

  /// - Parameters:
  ///   - skipsKernelFileSystems: leave out what is below /proc, /sys, /dev, unless asked for by name.
  ///   - report: takes a line about a file that was left out.
  public init(_ writer: ArchiveWriter, skipsKernelFileSystems: Bool, report: @escaping (String) -> Void) {
    self.writer = writer
    self.skipsKernelFileSystems = skipsKernelFileSystems
    self.report = report
    if skipsKernelFileSystems {
      var status = FileStatus()
      if archive_status_at(archive_current_directory, "/dev", &status) == 0 { kernelDevice = status.device }
    }
  }

  /// Packs what is at `path`, under the name `top`.
  ///
  /// - Parameter followsLink: whether a symbolic link at the path's end is followed.
  public func pack(path: [UInt8], followsLink: Bool, top: [UInt8]) throws(ArchiveError) {
    let reference = try OpenFile.take(
      path.withCString {
        archive_open_path(archive_current_directory, $0, followsLink ? 1 : 0, archive_resolve_freely)
      }, path)
    let status = try FileStatus.of(reference.number, path)
    switch status.kind {
    case .directory:
      let directory = try OpenFile.take(archive_reopen(reference.number, 1), path)
      pending = [([], status.device)]
      while let next = pending.popLast() {
        try packDirectory(next.relative, of: directory, top, path, from: next.device)
      }
    case .file:
      let file = try OpenFile.take(archive_reopen(reference.number, 0), path)
      try packFile(file, try FileStatus.of(file.number, path), top, path)
    case .socket: throw ArchiveError(printable(path) + ": a socket cannot be copied")
    default: try packSpecial(status, directory: reference.number, name: [], top, path)
    }
  }

  private func packDirectory(
    _ relative: [UInt8], of root: OpenFile, _ top: [UInt8], _ origin: [UInt8], from parentDevice: UInt64
  ) throws(ArchiveError) {
    let place = ArchivePath.join(origin, relative)
    let prefix = ArchivePath.join(top, relative)
    let directory: OpenFile
    let status: FileStatus
    do throws(ArchiveError) {
      let path = relative.isEmpty ? [46] : relative
      guard
        let open = try OpenFile.takeIfThere(
          path.withCString { archive_open_directory(root.number, $0, archive_resolve_beneath) }, place)
      else { return }
      directory = open
      status = try FileStatus.of(directory.number, place)
    } catch {
      return report(error.text)
    }
    try writeHeader(entry(.directory, prefix, status, attributesOf: directory.number))
    let device = status.device
    if skipsKernelFileSystems, device != parentDevice,
      device == kernelDevice || archive_is_kernels(directory.number) != 0
    {
      return
    }
    var below: [[UInt8]] = []
    for name in try names(directory, place) {
      let path = ArchivePath.join(place, name)
      let stored = ArchivePath.join(prefix, name)
      guard stored.count < ArchiveLimits.pathBytes else {
        report(printable(path) + ": the path is too long")
        continue
      }
      let status: FileStatus
      do throws(ArchiveError) {
        // It was there a moment ago.
        guard let found = try FileStatus.at(directory.number, name, path) else { continue }
        status = found
      } catch {
        report(error.text)
        continue
      }
      switch status.kind {
      case .directory: below.append(ArchivePath.join(relative, name))
      case .file:
        do throws(ArchiveError) {
          let opened = name.withCString { archive_open_file(directory.number, $0) }
          guard let file = try OpenFile.takeIfThere(opened, path) else { continue }
          let now = try FileStatus.of(file.number, path)
          guard now.kind == .file else { continue }
          try packFile(file, now, stored, path)
        } catch {
          if error.breaksArchive { throw error }
          report(error.text)
        }
      case .socket: break
      default:
        do throws(ArchiveError) {
          try packSpecial(status, directory: directory.number, name: name, stored, path)
        } catch {
          if error.breaksArchive { throw error }
          report(error.text)
        }
      }
    }
    for directory in below.reversed() { pending.append((directory, device)) }
  }

  private func names(_ directory: OpenFile, _ path: [UInt8]) throws(ArchiveError) -> [[UInt8]] {
    var names: [[UInt8]] = []
    while true {
      var code = 0
      guard let batch = bytes(of: 16_384, code: &code, { archive_names(directory.number, $0, $1) }) else {
        report(ArchiveError(path, code).text)
        return names
      }
      if batch.isEmpty { break }
      for name in batch.split(separator: 0) { names.append([UInt8](name)) }
    }
    names.sort { $0.lexicographicallyPrecedes($1) }
    return names
  }

  // MARK: One file

  private func packFile(
    _ file: OpenFile, _ status: FileStatus, _ stored: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) {
    if status.links > 1 {
      if let first = linked[status.identity] {
        var entry = entry(.hardLink, stored, status, attributesOf: nil)
        entry.linkTarget = first
        return try writeHeader(entry)
      }
      linked[status.identity] = stored
    }
    var entry = entry(.file, stored, status, attributesOf: file.number)
    if status.size <= Self.smallFile {
      let content = try content(file, path)
      entry.size = UInt64(content.count)
      try writer.begin(entry)
      try writer.append(content)
      return try writer.pad(entry)
    }
    entry.size = status.size
    if status.stored < status.size { entry.segments = segments(file, status.size) }
    try writer.begin(entry)
    for segment in entry.segments ?? [ArchiveSegment(offset: 0, length: status.size)] {
      try copy(segment, of: file, path)
    }
    try writer.pad(entry)
  }

  /// All that can be read, whatever the size says.
  private func content(_ file: OpenFile, _ path: [UInt8]) throws(ArchiveError) -> [UInt8] {
    var content: [UInt8] = []
    while true {
      var code = 0
      guard let piece = bytes(of: 65_536, code: &code, { archive_read(file.number, $0, $1) }) else {
        throw ArchiveError(path, code)
      }
      if piece.isEmpty { return content }
      content += piece
      guard content.count <= Self.contentLimit else {
        throw ArchiveError(printable(path) + ": it has no size, and more than 32 MiB")
      }
    }
  }

  /// Where a sparse file has data; nil where its file system does not tell, or it is in too many pieces.
  private func segments(_ file: OpenFile, _ size: UInt64) -> [ArchiveSegment]? {
    var segments: [ArchiveSegment] = []
    var at: UInt64 = 0
    while at < size {
      let data = archive_next_data(file.number, at)
      if data == Int64(archive_no_data) { break }
      guard data >= 0 else { return nil }
      if UInt64(data) >= size { break }
      let hole = archive_next_hole(file.number, UInt64(data))
      guard hole > data, segments.count < ArchiveLimits.segments else { return nil }
      let end = min(UInt64(hole), size)
      segments.append(ArchiveSegment(offset: UInt64(data), length: end - UInt64(data)))
      at = end
    }
    // GNU tar takes a file's length from the last piece, where it ends in a hole an empty one.
    if at < size { segments.append(ArchiveSegment(offset: size, length: 0)) }
    return segments == [ArchiveSegment(offset: 0, length: size)] ? nil : segments
  }

  private func copy(_ segment: ArchiveSegment, of file: OpenFile, _ path: [UInt8]) throws(ArchiveError) {
    var done: UInt64 = 0
    while done < segment.length {
      var failure = 0
      let count = try writer.append(atMost: segment.length - done) { target in
        let count = archive_read_at(file.number, target.baseAddress, target.count, segment.offset + done)
        failure = min(0, count)
        return max(0, count)
      }
      if count == 0 {
        // The header has promised it: zeros in its place, as tar does.
        report(printable(path) + ": " + (failure < 0 ? errorText(failure) : "it became shorter while it was read"))
        return try writer.appendZeros(segment.length - done)
      }
      done += UInt64(count)
    }
  }

  private func packSpecial(
    _ status: FileStatus, directory: Int32, name: [UInt8], _ stored: [UInt8], _ path: [UInt8]
  ) throws(ArchiveError) {
    switch status.kind {
    case .symbolicLink:
      var code = 0
      let target = name.withCString { name in
        bytes(of: ArchiveLimits.pathBytes, code: &code) { archive_link_target(directory, name, $0, $1) }
      }
      guard let target else { throw ArchiveError(path, code) }
      var entry = entry(.symbolicLink, stored, status, attributesOf: nil)
      entry.linkTarget = target
      try writeHeader(entry)
    case .characterDevice, .blockDevice:
      let isCharacter = status.kind == .characterDevice
      var entry = entry(isCharacter ? .characterDevice : .blockDevice, stored, status, attributesOf: nil)
      entry.major = status.major
      entry.minor = status.minor
      try writeHeader(entry)
    default: try writeHeader(entry(.fifo, stored, status, attributesOf: nil))
    }
  }

  private func writeHeader(_ entry: ArchiveEntry) throws(ArchiveError) { try writer.begin(entry) }

  private func entry(
    _ kind: ArchiveEntry.Kind, _ stored: [UInt8], _ status: FileStatus, attributesOf descriptor: Int32?
  ) -> ArchiveEntry {
    var entry = ArchiveEntry(path: stored, kind: kind, mode: status.mode & 0o7777)
    entry.uid = status.uid
    entry.gid = status.gid
    entry.seconds = status.seconds
    entry.nanoseconds = status.nanoseconds
    if let descriptor { entry.attributes = FileAttribute.read(descriptor) }
    return entry
  }
}
