internal import FoundationEssentials
internal import Glibc
internal import IgniteArchive
internal import IgniteImages
internal import IgniteSystem

/// Paths of the host, as docker's client takes them.
enum HostPath {
  /// From the current directory, an ending `/` or `/.` kept, for it means something.
  static func absolute(_ path: String) -> [UInt8] {
    let bytes = Array(path.utf8)
    if bytes.first == 47 { return bytes }
    return ArchivePath.join(Array(FileManager.default.currentDirectoryPath.utf8), bytes)
  }
}

extension EngineError {
  init(copying error: ArchiveError) {
    self.init(.unavailable, error.text.hasPrefix("cannot") ? error.text : "cannot copy: \(error.text)")
  }
}

/// The host's side of a copy into a VM.
// @unchecked: made in one place and run once, on one thread.
final class HostPacking: @unchecked Sendable {
  /// Empty where a directory's contents are meant.
  let name: [UInt8]
  let isDirectory: Bool
  private(set) var complaints: [String] = []
  private let path: [UInt8]
  private let followsLink: Bool

  init(source: String, followsLink: Bool) throws {
    path = HostPath.absolute(source)
    // A link that is said to be a directory is the directory; docker does the same.
    self.followsLink = followsLink || ArchivePath.assertsDirectory(path)
    let top = ArchivePath.top(of: path)
    name = top == [46] ? [] : top
    var status = stat()
    let text = String(decoding: path, as: UTF8.self)
    guard (self.followsLink ? stat(text, &status) : lstat(text, &status)) == 0 else {
      throw EngineError(.notFound, "cannot copy \(source): \(SystemError.text(of: errno).lowercasedFirst)")
    }
    isDirectory = status.st_mode & S_IFMT == S_IFDIR
    guard isDirectory || !ArchivePath.assertsDirectory(path) else {
      throw EngineError(.invalidArgument, "cannot copy \(source): not a directory")
    }
  }

  /// Blocking.
  func run(_ pipe: FileDescriptor) throws -> UInt64 {
    let writer = ArchiveWriter(descriptor: pipe.number)
    let packer = TreePacker(writer, skipsKernelFileSystems: false) { self.complaints.append($0) }
    try packer.pack(path: path, followsLink: followsLink, top: [46])
    try writer.finish()
    return writer.written
  }
}

/// The host's side of a copy out of a VM. All that comes is hostile.
// @unchecked: made in one place and run once, on one thread.
final class HostUnpacking: @unchecked Sendable {
  private static let complaintLimit = 1000

  private let source: [UInt8]
  private let destination: CopyDestination
  private let policy: UnpackPolicy
  private(set) var complaints: [String] = []

  init(source: [UInt8], destination: CopyDestination, policy: UnpackPolicy) {
    self.source = source
    self.destination = destination
    self.policy = policy
  }

  /// Unpacks what comes; the bytes of it. Blocking.
  func run(_ pipe: FileDescriptor) throws -> UInt64 {
    let reader = TarReader(DescriptorSource(pipe))
    try unpack(reader)
    return reader.bytesRead
  }

  private func unpack(_ reader: TarReader) throws {
    guard let first = try reader.next() else { throw ArchiveError("nothing came") }
    let top = ArchivePath.top(of: [47] + source)
    let contents = top == [46]
    let target = try destination.target(name: contents ? [] : top, isDirectory: first.kind == .directory)
    let unpacker = try TreeUnpacker(root: target.directory, isFileSystemRoot: false, policy: policy) { line in
      if self.complaints.count < Self.complaintLimit { self.complaints.append(line) }
    }
    /// Where an entry goes: all of them are below the top, or are it.
    func place(_ path: [UInt8], _ what: String) throws(ArchiveError) -> [[UInt8]] {
      guard var names = ArchivePath.components(path), path.first != 47 else {
        throw ArchiveError("the VM sent \(what) that leads out of what was asked for: \(printable(path))")
      }
      if !contents {
        guard names.first == top else {
          throw ArchiveError("the VM sent \(what) that was not asked for: \(printable(path))")
        }
        names.removeFirst()
      }
      return target.name.isEmpty ? names : [target.name] + names
    }
    var entry: TarEntry? = first
    while let member = entry {
      let names = try place(member.path, "a path")
      let link = member.kind == .hardLink ? try place(member.linkTarget, "a hard link") : []
      let converted = ArchiveEntry(member)
      try unpacker.unpack(
        converted, at: names, linkTarget: link, keepsExisting: names.isEmpty
      ) { buffer throws(ArchiveError) in try reader.stored(into: buffer) }
      entry = try reader.next()
    }
    try unpacker.finish()
  }
}

/// A tar archive of the user's, written anew in the form that the guest reads.
enum ArchiveRewriting {
  /// Blocking; the bytes read.
  static func run(from source: FileDescriptor, to pipe: FileDescriptor) throws -> UInt64 {
    var limits = TarLimits()
    limits.segments = ArchiveLimits.segments
    let reader = TarReader(try Compression.unpacked(DescriptorSource(source), limit: .max).source, limits: limits)
    let writer = ArchiveWriter(descriptor: pipe.number)
    while let member = try reader.next() {
      let entry = ArchiveEntry(member)
      try writer.begin(entry)
      var left = entry.stored
      while left > 0 {
        let count = try writer.append(atMost: left) { buffer throws(ArchiveError) in try reader.stored(into: buffer) }
        guard count > 0 else { throw ArchiveError("the archive ended early") }
        left -= UInt64(count)
      }
      try writer.pad(entry)
    }
    try writer.finish()
    return reader.bytesRead
  }
}

/// A descriptor as a stream of bytes.
final class DescriptorSource: ByteSource {
  private let file: FileDescriptor

  init(_ file: FileDescriptor) { self.file = file }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
    while true {
      let count = Glibc.read(file.number, buffer.baseAddress, buffer.count)
      if count >= 0 { return count }
      if errno != EINTR { throw ImageError(.io, "cannot read the archive: \(SystemError.text(of: errno))") }
    }
  }
}

extension TarReader {
  /// The current member's stored bytes, holes left out.
  fileprivate func stored(into buffer: UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int {
    do throws(ImageError) { return try readStoredData(into: buffer) } catch { throw ArchiveError(error.message) }
  }
}

extension ArchiveEntry {
  init(_ member: TarEntry) {
    let kind: Kind =
      switch member.kind {
      case .file: .file
      case .hardLink: .hardLink
      case .symbolicLink: .symbolicLink
      case .directory: .directory
      case .fifo: .fifo
      case .characterDevice: .characterDevice
      case .blockDevice: .blockDevice
      }
    self.init(path: member.path, kind: kind, mode: UInt32(member.attributes.mode))
    uid = member.attributes.uid
    gid = member.attributes.gid
    seconds = member.attributes.modified.seconds
    nanoseconds = member.attributes.modified.nanoseconds
    linkTarget = member.linkTarget
    major = member.deviceMajor
    minor = member.deviceMinor
    attributes = member.attributes.extendedAttributes.map { Attribute(name: $0.name, value: $0.value) }
    if kind == .file {
      size = member.size
      segments = member.segments?.map { ArchiveSegment(offset: $0.offset, length: $0.length) }
    }
  }
}

extension String {
  fileprivate var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}
